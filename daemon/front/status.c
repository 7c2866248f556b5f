/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - one outcome, as each neighbour of front says it */
#include "front/status.h"

#include "base/error.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* What an agent's text may be, escaped. */
#define AGENT_TEXT_MAX 256

/* clang-format off */
static const struct {
	const char *reason;
	enum grpc_code code;
} agent_reasons[] = {
	{ "FILE_NOT_FOUND",	GRPC_NOT_FOUND },
	{ "PROCESS_NOT_FOUND",	GRPC_NOT_FOUND },
	{ "PORT_NOT_FOUND",	GRPC_NOT_FOUND },
	{ "ALREADY_EXISTS",	GRPC_ALREADY_EXISTS },
	{ "PERMISSION_DENIED",	GRPC_PERMISSION_DENIED },
	{ "INVALID_CONFIG",	GRPC_INVALID_ARGUMENT },
	{ "INVALID_STATE",	GRPC_FAILED_PRECONDITION },
	{ "RESOURCE_EXHAUSTED",	GRPC_RESOURCE_EXHAUSTED },
	{ "SANDBOX_TIMEOUT",	GRPC_DEADLINE_EXCEEDED },
	{ "UNAVAILABLE",	GRPC_UNAVAILABLE },
};

/* For a status without a reason that may stand. */
static const char *const reasons[GRPC_CODE_COUNT] = {
	[GRPC_CANCELLED]		= "CANCELLED",
	[GRPC_UNKNOWN]			= "INTERNAL",
	[GRPC_INVALID_ARGUMENT]		= "INVALID_CONFIG",
	[GRPC_DEADLINE_EXCEEDED]	= "SANDBOX_TIMEOUT",
	[GRPC_NOT_FOUND]		= "SANDBOX_NOT_FOUND",
	[GRPC_ALREADY_EXISTS]		= "ALREADY_EXISTS",
	[GRPC_PERMISSION_DENIED]	= "PERMISSION_DENIED",
	[GRPC_RESOURCE_EXHAUSTED]	= "RESOURCE_EXHAUSTED",
	[GRPC_FAILED_PRECONDITION]	= "INVALID_STATE",
	[GRPC_ABORTED]			= "INVALID_STATE",
	[GRPC_OUT_OF_RANGE]		= "INVALID_CONFIG",
	[GRPC_UNIMPLEMENTED]		= "UNIMPLEMENTED",
	[GRPC_INTERNAL]			= "INTERNAL",
	[GRPC_UNAVAILABLE]		= "UNAVAILABLE",
	[GRPC_DATA_LOSS]		= "DATA_LOSS",
	[GRPC_UNAUTHENTICATED]		= "PERMISSION_DENIED",
};
/* clang-format on */

/* Every field is bounded by its own array. */
static void fill(struct grpc_status *st, unsigned int code, const char *reason,
		 const char *message, const char *field, uint32_t retry_ms)
{
	memset(st, 0, sizeof(*st));
	st->code = code < GRPC_CODE_COUNT ? (enum grpc_code)code : GRPC_UNKNOWN;
	if (st->code != GRPC_OK && str_empty(reason))
		reason = reasons[st->code];
	snprintf(st->reason, sizeof(st->reason), "%s", reason ? reason : "");
	snprintf(st->message, sizeof(st->message), "%s",
		 message ? message : "");
	snprintf(st->field, sizeof(st->field), "%s", field ? field : "");
	st->retry_ms = retry_ms;
}

void status_of_error(struct grpc_status *ret, const struct error *err)
{
	fill(ret, err_grpc_code(err->code), err_reason_of(err), err->msg,
	     err->field, err->retry_ms);
}

void status_of_engine(struct grpc_status *ret,
		      const Sandbox__Ipc__V1__Status *status)
{
	if (!status) {
		fill(ret, GRPC_OK, NULL, NULL, NULL, 0);
		return;
	}
	fill(ret, status->code, status->reason, status->message, status->field,
	     status->retry_ms);
}

void status_of_agent(struct grpc_status *ret, const struct grpc_status *said)
{
	char text[AGENT_TEXT_MAX], field[GRPC_FIELD_MAX];
	uint32_t retry = 0;

	str_escape(text, sizeof(text), said->message, strlen(said->message));
	str_escape(field, sizeof(field), said->field, strlen(said->field));
	for (size_t i = 0; i < sizeof(agent_reasons) / sizeof(*agent_reasons);
	     i++) {
		if (strcmp(said->reason, agent_reasons[i].reason))
			continue;
		if (said->code == GRPC_OK)
			break;
		fill(ret, agent_reasons[i].code, said->reason, text, field,
		     said->retry_ms > 60000 ? 60000 : said->retry_ms);
		return;
	}
	switch (said->code) {
	case GRPC_OK:
	case GRPC_CANCELLED:
	case GRPC_DEADLINE_EXCEEDED:
	case GRPC_UNIMPLEMENTED:
		fill(ret, said->code, NULL, text, NULL, 0);
		return;
	case GRPC_UNAVAILABLE:
		retry = 1000;
		fill(ret, said->code, NULL, text, NULL, retry);
		return;
	default:
		fill(ret, GRPC_INTERNAL, NULL, text, NULL, 0);
		return;
	}
}

void status_to_engine(Sandbox__Ipc__V1__Status *ret,
		      const struct grpc_status *st)
{
	sandbox__ipc__v1__status__init(ret);
	ret->code = st->code;
	ret->reason = (char *)st->reason;
	ret->message = (char *)st->message;
	ret->field = (char *)st->field;
	ret->retry_ms = st->retry_ms;
}

/* clang-format off */
static const enum err_code codes[GRPC_CODE_COUNT] = {
	[GRPC_OK]			= ERR_NONE,
	[GRPC_CANCELLED]		= ERR_CANCELLED,
	[GRPC_UNKNOWN]			= ERR_INTERNAL,
	[GRPC_INVALID_ARGUMENT]		= ERR_INVALID,
	[GRPC_DEADLINE_EXCEEDED]	= ERR_TIMEOUT,
	[GRPC_NOT_FOUND]		= ERR_NOT_FOUND,
	[GRPC_ALREADY_EXISTS]		= ERR_EXISTS,
	[GRPC_PERMISSION_DENIED]	= ERR_DENIED,
	[GRPC_RESOURCE_EXHAUSTED]	= ERR_LIMIT,
	[GRPC_FAILED_PRECONDITION]	= ERR_CONFLICT,
	[GRPC_ABORTED]			= ERR_CONFLICT,
	[GRPC_OUT_OF_RANGE]		= ERR_INVALID,
	[GRPC_UNIMPLEMENTED]		= ERR_INTERNAL,
	[GRPC_INTERNAL]			= ERR_INTERNAL,
	[GRPC_UNAVAILABLE]		= ERR_UNAVAILABLE,
	[GRPC_DATA_LOSS]		= ERR_DATA_LOSS,
	[GRPC_UNAUTHENTICATED]		= ERR_DENIED,
};
/* clang-format on */

void status_to_error(struct error *ret, const struct grpc_status *st)
{
	err_set(ret,
		codes[st->code < GRPC_CODE_COUNT ? st->code : GRPC_UNKNOWN],
		"%s", st->message);
	err_reason(ret, st->reason, st->field);
	ret->retry_ms = st->retry_ms;
}
