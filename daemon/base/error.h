/* SPDX-License-Identifier: Apache-2.0 */
/* error.h - the error value that every module hands up
 *
 * Lives on the caller's stack: reporting a failure never allocates. Its code
 * decides the gRPC status and, where no reason is set, the contract's reason.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdint.h>

/* Each code is one gRPC status and one default reason (error.c's table). */
enum err_code {
	ERR_NONE = 0,
	ERR_INVALID,	 /* can never succeed as asked: INVALID_CONFIG */
	ERR_NOT_FOUND,	 /* SANDBOX_NOT_FOUND unless said otherwise */
	ERR_EXISTS,	 /* ALREADY_EXISTS */
	ERR_CONFLICT,	 /* not in this state: INVALID_STATE */
	ERR_LIMIT,	 /* no capacity now: RESOURCE_EXHAUSTED */
	ERR_DENIED,	 /* PERMISSION_DENIED */
	ERR_UNAVAILABLE, /* a peer (libvirt, agent, kernel) is not there */
	ERR_TIMEOUT,	 /* SANDBOX_TIMEOUT */
	ERR_CANCELLED,	 /* the caller is gone or asked to stop */
	ERR_DATA_LOSS,	 /* what is on disk does not verify */
	ERR_INTERNAL,	 /* a bug or an I/O error: look in the journal */

	ERR_CODE_COUNT,
};

#define ERR_MSG_MAX    384
#define ERR_REASON_MAX 48
#define ERR_FIELD_MAX  96

struct error {
	enum err_code code;
	uint32_t retry_ms;	     /* 0: no use trying again */
	char reason[ERR_REASON_MAX]; /* empty: by code */
	char field[ERR_FIELD_MAX];   /* the request's field, or an id */
	char msg[ERR_MSG_MAX];
};

/* Each sets *@err (which may be NULL) and returns -1, so that a failing
 * function ends in one line: return err_set(err, ERR_LIMIT, "...");
 */
int err_set(struct error *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* "<fmt>: <text of errnum>". ENOSPC and EDQUOT become ERR_LIMIT, ENOENT and the
 * rest ERR_INTERNAL.
 */
int err_sys(struct error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "<fmt>: " before the message there is. */
int err_wrap(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ERR_INVALID about one field of a request. */
int err_field(struct error *err, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Set reason (and field, unless NULL) of an error already set. Returns -1. */
int err_reason(struct error *err, const char *reason, const char *field);

/* gRPC's number for a code, and the reason: the error's own or its code's. */
unsigned int err_grpc_code(enum err_code code);
const char *err_reason_of(const struct error *err);

#endif /* BASE_ERROR_H */
