/* SPDX-License-Identifier: Apache-2.0 */
/* signame.h - signals by name, with Linux's numbers on every machine */
#ifndef CTL_SIGNAME_H
#define CTL_SIGNAME_H

#include <stdint.h>

struct error;

/* "TERM", "SIGTERM", "15", "RTMIN+3" */
int signame_parse(const char *text, uint32_t *ret, struct error *err);

#endif /* CTL_SIGNAME_H */
