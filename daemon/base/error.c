/* SPDX-License-Identifier: Apache-2.0 */
/* error.c - the error value that every module hands up */
#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct {
	unsigned int grpc;
	const char *reason;
} codes[] = {
	[ERR_NONE]	  = { 0,  "" },
	[ERR_INVALID]	  = { 3,  "INVALID_CONFIG" },
	[ERR_NOT_FOUND]	  = { 5,  "SANDBOX_NOT_FOUND" },
	[ERR_EXISTS]	  = { 6,  "ALREADY_EXISTS" },
	[ERR_CONFLICT]	  = { 9,  "INVALID_STATE" },
	[ERR_LIMIT]	  = { 8,  "RESOURCE_EXHAUSTED" },
	[ERR_DENIED]	  = { 7,  "PERMISSION_DENIED" },
	[ERR_UNAVAILABLE] = { 14, "UNAVAILABLE" },
	[ERR_TIMEOUT]	  = { 4,  "SANDBOX_TIMEOUT" },
	[ERR_CANCELLED]	  = { 1,  "CANCELLED" },
	[ERR_DATA_LOSS]	  = { 15, "DATA_LOSS" },
	[ERR_INTERNAL]	  = { 13, "INTERNAL" },
};
/* clang-format on */
static_assert(sizeof(codes) / sizeof(codes[0]) == ERR_CODE_COUNT,
	      "one row a code");

static void __attribute__((format(printf, 3, 0)))
begin(struct error *err, enum err_code code, const char *fmt, va_list ap)
{
	memset(err, 0, sizeof(*err));
	err->code = code;
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

int err_set(struct error *err, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	begin(err, code, fmt, ap);
	va_end(ap);
	return -1;
}

int err_sys(struct error *err, int errnum, const char *fmt, ...)
{
	enum err_code code = ERR_INTERNAL;
	size_t len;
	va_list ap;

	if (!err)
		return -1;
	if (errnum == ENOSPC || errnum == EDQUOT)
		code = ERR_LIMIT;
	va_start(ap, fmt);
	begin(err, code, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	snprintf(err->msg + len, sizeof(err->msg) - len, ": %s",
		 strerrordesc_np(errnum) ? strerrordesc_np(errnum) :
					   "unknown error");
	return -1;
}

int err_wrap(struct error *err, const char *fmt, ...)
{
	char old[ERR_MSG_MAX];
	size_t len;
	va_list ap;

	if (!err)
		return -1;
	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", old);
	return -1;
}

int err_field(struct error *err, const char *field, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	begin(err, ERR_INVALID, fmt, ap);
	va_end(ap);
	snprintf(err->field, sizeof(err->field), "%s", field);
	return -1;
}

int err_reason(struct error *err, const char *reason, const char *field)
{
	if (!err)
		return -1;
	snprintf(err->reason, sizeof(err->reason), "%s", reason);
	if (field)
		snprintf(err->field, sizeof(err->field), "%s", field);
	return -1;
}

unsigned int err_grpc_code(enum err_code code)
{
	assert(code < ERR_CODE_COUNT);
	return codes[code].grpc;
}

const char *err_reason_of(const struct error *err)
{
	return err->reason[0] ? err->reason : codes[err->code].reason;
}
