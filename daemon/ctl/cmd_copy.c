/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_copy.c - cp */
#include "ctl/copy.h"

#include "ctl/copy_name.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int report(struct copy *c)
{
	char size[TEXT_SIZE_MAX];

	progress_clear(&c->progress);
	if (c->ctl->json)
		printf("{\"files\":\"%" PRIu64 "\",\"bytes\":\"%" PRIu64
		       "\",\"failed\":\"%" PRIu64 "\"}\n",
		       c->files, c->bytes, c->failed);
	else if (isatty(STDERR_FILENO) && !c->fatal)
		fprintf(stderr, "%" PRIu64 " files, %s\n", c->files,
			text_size(size, c->bytes));
	if (c->fatal)
		return c->fatal;
	if (c->failed)
		fprintf(stderr, "sandboxctl: %" PRIu64 " not copied\n",
			c->failed);
	return c->failed ? CTL_REFUSED : CTL_OK;
}

static int cmd_cp(struct ctl *ctl)
{
	struct copy c = { .ctl = ctl };
	const char *from = ctl_word(ctl, 0);
	const char *to = ctl_word(ctl, 1);
	_cleanup_free_ char *from_id = copy_split(from, &from);
	_cleanup_free_ char *to_id = copy_split(to, &to);
	struct error err = { 0 };
	int status;

	if (!from_id == !to_id) {
		err_set(&err, ERR_INVALID,
			"cp: one of the two must be ID:PATH, the other a path "
			"here");
		return ctl_usage(&err);
	}
	if (strlen(from_id ? from : to) > COPY_PATH_MAX) {
		err_set(&err, ERR_INVALID, "cp: a path has at most %d bytes",
			COPY_PATH_MAX);
		return ctl_usage(&err);
	}
	status = ctl_begin(ctl);
	if (status)
		return status;
	c.id = from_id ? from_id : to_id;
	if (from_id)
		copy_down(&c, from, to);
	else
		copy_up(&c, from, to);
	return report(&c);
}

const struct command copy_commands[] = {
	{ "cp", "SRC DST", "copy; one of them is ID:PATH", 2, 2, false, NULL,
	  cmd_cp },
	{ 0 },
};
