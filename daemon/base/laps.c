/* SPDX-License-Identifier: Apache-2.0 */
/* laps.c - where the time of one operation went, for the debug log */
#include "base/laps.h"

#include "base/log.h"
#include "base/measure.h"

#include <stdio.h>

void laps_begin(struct laps *laps)
{
	*laps = (struct laps){ .began_us = measure_now() };
	laps->last_us = laps->began_us;
}

void laps_add(struct laps *laps, const char *name)
{
	uint64_t now = measure_now();
	size_t i = laps->n < LAPS_MAX ? laps->n++ : LAPS_MAX - 1;

	laps->lap[i].name = name;
	laps->lap[i].us += now - laps->last_us;
	laps->last_us = now;
}

void laps_log(const struct laps *laps, const char *what, const char *whose)
{
	char text[640] = "";
	size_t len = 0;

	for (size_t i = 0; i < laps->n && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%s%s %.1f", i ? ", " : "",
					laps->lap[i].name,
					(double)laps->lap[i].us / 1e3);
	log_debug("%s '%s': %.1f ms: %s", what, whose,
		  (double)(laps->last_us - laps->began_us) / 1e3, text);
}
