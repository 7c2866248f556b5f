/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c - how far a long command is, on the terminal's last line */
#include "ctl/progress.h"

#include "ctl/text.h"

#include "base/cleanup.h"
#include "base/loop.h"

#include <stdio.h>
#include <string.h>

#define SHOW_EVERY_MS 100
#define WHAT_MAX      48

void progress_show(struct progress *p, const char *what, uint64_t done,
		   uint64_t total)
{
	uint64_t now = loop_now_ms();
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];
	_cleanup_free_ char *safe = NULL;

	if (!p->tty)
		p->tty = isatty(STDERR_FILENO) ? 1 : -1;
	if (p->tty < 0 || now - p->shown_ms < SHOW_EVERY_MS)
		return;
	p->shown_ms = now;
	safe = text_safe(what, strlen(what));
	fprintf(stderr, "\r\033[K%.*s", WHAT_MAX, safe);
	if (total)
		fprintf(stderr, "  %s of %s  %3u%%", text_size(a, done),
			text_size(b, total),
			(unsigned int)(100.0 * (double)done / (double)total));
	else if (done)
		fprintf(stderr, "  %s", text_size(a, done));
	fflush(stderr);
}

void progress_clear(struct progress *p)
{
	if (p->tty > 0 && p->shown_ms)
		fputs("\r\033[K", stderr);
	p->shown_ms = 0;
}
