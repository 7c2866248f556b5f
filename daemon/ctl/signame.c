/* SPDX-License-Identifier: Apache-2.0 */
/* signame.c - signals by name, with Linux's numbers on every machine */
#include "ctl/signame.h"

#include "base/error.h"
#include "base/str.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

/* 64 is Linux's highest; 34 is the first that glibc leaves to programs. */
#define SIGNAL_MAX 64
#define SIGNAL_RT  34

int signame_parse(const char *text, uint32_t *ret, struct error *err)
{
	const char *name = text;
	uint64_t n;

	if (str_parse_u64(text, SIGNAL_MAX, &n) == 0 && n > 0) {
		*ret = (uint32_t)n;
		return 0;
	}
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	if (strncasecmp(name, "RTMIN+", 6) == 0 &&
	    str_parse_u64(name + 6, SIGNAL_MAX - SIGNAL_RT, &n) == 0) {
		*ret = SIGNAL_RT + (uint32_t)n;
		return 0;
	}
	for (int i = 1; i < SIGNAL_RT; i++) {
		const char *abbrev = sigabbrev_np(i);

		if (abbrev && strcasecmp(abbrev, name) == 0) {
			*ret = (uint32_t)i;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID,
		       "'%s' is no signal: a name like TERM or a number from 1 "
		       "to %d is needed",
		       text, SIGNAL_MAX);
}
