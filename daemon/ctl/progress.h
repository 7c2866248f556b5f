/* SPDX-License-Identifier: Apache-2.0 */
/* progress.h - how far a long command is, on the terminal's last line
 *
 * Shown on stderr, only when that is a terminal, at most ten times a second.
 */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include <stdint.h>

struct progress {
	uint64_t shown_ms;
	int tty; /* 0: not looked yet, 1: yes, -1: no */
};

/* @what is shown with @done of @total bytes; total 0: not known. */
void progress_show(struct progress *p, const char *what, uint64_t done,
		   uint64_t total);
/* The line away again; before anything else is printed. */
void progress_clear(struct progress *p);

#endif /* CTL_PROGRESS_H */
