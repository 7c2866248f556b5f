/* SPDX-License-Identifier: Apache-2.0 */
/* agent.c - errors as clients see them, and the console */
#include "agent.h"

#include "base/error.h"
#include "grpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void agent_log(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	size_t len;
	int n;

	n = snprintf(line, sizeof(line), "sandbox-agent: ");
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	len = strlen(line);
	line[len++] = '\n';
	/* A console that takes no more is no reason to wait. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

void agent_status(struct grpc_status *st, const struct error *err)
{
	grpc_status_set(st, (enum grpc_code)err_grpc_code(err->code),
			err_reason_of(err), "%s", err->msg);
	snprintf(st->field, sizeof(st->field), "%s", err->field);
	st->retry_ms = err->retry_ms;
}

/* clang-format off */
static const struct {
	int errnum;
	enum err_code code;
	const char *reason; /* NULL: the code's */
} file_errors[] = {
	{ ENOENT,	ERR_NOT_FOUND,	"FILE_NOT_FOUND" },
	{ ENOTDIR,	ERR_NOT_FOUND,	"FILE_NOT_FOUND" },
	{ EEXIST,	ERR_EXISTS,	NULL },
	{ EACCES,	ERR_DENIED,	NULL },
	{ EPERM,	ERR_DENIED,	NULL },
	{ EROFS,	ERR_DENIED,	NULL },
	{ ETXTBSY,	ERR_CONFLICT,	NULL },
	{ EBUSY,	ERR_CONFLICT,	NULL },
	{ ENOTEMPTY,	ERR_CONFLICT,	NULL },
	{ ENOSPC,	ERR_LIMIT,	NULL },
	{ EDQUOT,	ERR_LIMIT,	NULL },
	{ EFBIG,	ERR_LIMIT,	NULL },
	{ EMFILE,	ERR_LIMIT,	NULL },
	{ ENFILE,	ERR_LIMIT,	NULL },
	{ ENOMEM,	ERR_LIMIT,	NULL },
	{ EAGAIN,	ERR_LIMIT,	NULL },
	{ EMLINK,	ERR_LIMIT,	NULL },
	{ EISDIR,	ERR_INVALID,	NULL },
	{ EINVAL,	ERR_INVALID,	NULL },
	{ ELOOP,	ERR_INVALID,	NULL },
	{ ENAMETOOLONG,	ERR_INVALID,	NULL },
	{ ENXIO,	ERR_INVALID,	NULL },
	{ ECANCELED,	ERR_CANCELLED,	NULL },
};
/* clang-format on */

int agent_file_error(struct error *err, int errnum, const char *fmt, ...)
{
	char what[ERR_MSG_MAX];
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	err_sys(err, errnum, "%s", what);
	for (size_t i = 0; i < sizeof(file_errors) / sizeof(file_errors[0]);
	     i++) {
		if (file_errors[i].errnum != errnum)
			continue;
		err->code = file_errors[i].code;
		if (file_errors[i].reason)
			err_reason(err, file_errors[i].reason, NULL);
		if (err->code == ERR_INVALID)
			err_reason(err, "", "path");
		break;
	}
	return -1;
}
