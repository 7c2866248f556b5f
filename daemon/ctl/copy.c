/* SPDX-License-Identifier: Apache-2.0 */
/* copy.c - what both ways of a copy have in common */
#include "ctl/copy.h"

#include "ctl/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void copy_fail(struct copy *c, const char *path, const char *fmt, ...)
{
	_cleanup_free_ char *safe = text_safe(path, strlen(path));
	va_list ap;

	c->failed++;
	progress_clear(&c->progress);
	fprintf(stderr, "sandboxctl: '%s': ", safe);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* Errors that the next file would meet as well. */
static bool is_fatal(struct copy *c, const struct grpc_status *st)
{
	return client_interrupted(c->ctl->client) ||
	       client_lost(c->ctl->client) || st->code == GRPC_UNAVAILABLE ||
	       strcmp(st->reason, "SANDBOX_NOT_FOUND") == 0 ||
	       strcmp(st->reason, "INVALID_STATE") == 0;
}

void copy_fail_status(struct copy *c, const char *path,
		      const struct grpc_status *st)
{
	_cleanup_free_ char *text = text_safe(st->message, strlen(st->message));

	progress_clear(&c->progress);
	if (is_fatal(c, st)) {
		c->failed++;
		c->fatal = ctl_status(c->ctl, st);
		return;
	}
	copy_fail(c, path, "%s: %s",
		  *st->reason ? st->reason : grpc_code_str(st->code), text);
}

NODE(StatFileResponse) * copy_stat(struct copy *c, const char *path,
				   bool follow, struct grpc_status *st)
{
	NODE(StatFileRequest) req = NODE_INIT(STAT_FILE_REQUEST);
	NODE(StatFileResponse) * r;

	req.sandbox_id = c->id;
	req.path = pb_bytes(path);
	req.follow_symlinks = follow;
	r = (NODE(StatFileResponse) *)client_unary(c->ctl->client, "StatFile",
						   &req.base, st);
	if (r && !r->info) {
		message_free(&r->base);
		grpc_status_set(st, GRPC_INTERNAL, "INTERNAL",
				"the node's answer is empty");
		return NULL;
	}
	return r;
}
