/* SPDX-License-Identifier: Apache-2.0 */
/* cloud_event.c - one event as CloudEvents 1.0 has it, in JSON */
#include "base/cloud_event.h"

#include "base/json_text.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* Of all types; what these hold is always a number. */
static const char *const numbers[] = {
	"attempts",
	"cost",
	"count",
	"cpu",
	"cpuSeconds",
	"diskGibSeconds",
	"diskMib",
	"durationMs",
	"exitCode",
	"generation",
	"memoryGibSeconds",
	"memoryMib",
	"pausedDurationMs",
	"pid",
	"port",
	"runtimeDurationMs",
	"signal",
	"snapshotBytes",
	"vcpuSeconds",
};

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?, short enough for a double. */
static bool is_number(const char *s)
{
	size_t whole, part;

	if (strlen(s) > 20)
		return false;
	s += *s == '-';
	whole = strspn(s, "0123456789");
	if (!whole || (*s == '0' && whole > 1))
		return false;
	s += whole;
	if (!*s)
		return true;
	part = *s == '.' ? strspn(s + 1, "0123456789") : 0;
	return part && !s[1 + part];
}

static void write_value(FILE *out, const struct cloud_pair *pair)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(pair->key, numbers[i]) != 0)
			continue;
		if (!is_number(pair->value))
			break;
		fputs(pair->value, out);
		return;
	}
	if (!strcmp(pair->value, "true") || !strcmp(pair->value, "false"))
		fputs(pair->value, out);
	else
		json_string(out, pair->value);
}

void cloud_event_write(FILE *out, const struct cloud_event *e)
{
	char source[96], time[JSON_TIME_MAX];

	snprintf(source, sizeof(source), "sandboxd%s%s",
		 str_empty(e->node_id) ? "" : "/", e->node_id);
	fprintf(out, "{\"specversion\":\"1.0\",\"id\":\"%" PRIu64 "\"",
		e->sequence);
	fputs(",\"source\":", out);
	json_string(out, source);
	fputs(",\"type\":", out);
	json_string(out, e->type);
	if (!str_empty(e->sandbox_id)) {
		fputs(",\"subject\":", out);
		json_string(out, e->sandbox_id);
	}
	if (e->seconds) {
		json_time(time, e->seconds, e->nanos);
		fprintf(out, ",\"time\":\"%s\"", time);
	}
	fprintf(out,
		",\"sequence\":\"%" PRIu64
		"\",\"datacontenttype\":\"application/json\",\"data\":{",
		e->sequence);
	fputs("\"sandboxId\":", out);
	json_string(out, e->sandbox_id);
	for (size_t i = 0; i < e->n_data; i++) {
		fputc(',', out);
		json_string(out, e->data[i].key);
		fputc(':', out);
		write_value(out, &e->data[i]);
	}
	fputs("}}", out);
}
