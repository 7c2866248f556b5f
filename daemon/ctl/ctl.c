/* SPDX-License-Identifier: Apache-2.0 */
/* ctl.c - what the commands of sandboxctl share */
#include "ctl/ctl.h"

#include "ctl/json.h"
#include "ctl/out.h"
#include "ctl/text.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int ctl_usage(const struct error *err)
{
	fprintf(stderr, "sandboxctl: %s\n", err->msg);
	return CTL_USAGE;
}

int ctl_local(const struct error *err)
{
	fprintf(stderr, "sandboxctl: %s\n", err->msg);
	return CTL_REFUSED;
}

int ctl_status(struct ctl *ctl, const struct grpc_status *st)
{
	_cleanup_free_ char *text = text_safe(st->message, strlen(st->message));
	_cleanup_free_ char *field = text_safe(st->field, strlen(st->field));
	int signal = client_interrupted(ctl->client);

	if (signal)
		return 128 + signal;
	if (client_lost(ctl->client)) {
		fprintf(stderr, "sandboxctl: connection lost: %s\n",
			client_lost(ctl->client));
		return CTL_NO_CONNECTION;
	}
	fprintf(stderr, "%s: %s",
		*st->reason ? st->reason : grpc_code_str(st->code), text);
	if (*field && !strstr(text, field))
		fprintf(stderr, " (%s)", field);
	fputc('\n', stderr);
	return CTL_REFUSED;
}

int ctl_connect(struct ctl *ctl)
{
	struct error err = { 0 };

	if (ctl->client)
		return 0;
	if (client_connect(ctl->loop, &ctl->target, &ctl->client, &err) < 0) {
		fprintf(stderr, "sandboxctl: %s\n", err.msg);
		return CTL_NO_CONNECTION;
	}
	return 0;
}

int ctl_begin(struct ctl *ctl)
{
	struct error err = { 0 };
	int status = ctl_connect(ctl);

	if (status)
		return status;
	if (client_catch_signals(ctl->client, &err) < 0)
		return ctl_local(&err);
	out_watch(ctl->client);
	return 0;
}

ProtobufCMessage *ctl_call(struct ctl *ctl, const char *method,
			   const ProtobufCMessage *request, int *ret_exit)
{
	struct grpc_status st = { 0 };
	ProtobufCMessage *m;

	*ret_exit = ctl_begin(ctl);
	if (*ret_exit)
		return NULL;
	m = client_unary(ctl->client, method, request, &st);
	if (!m)
		*ret_exit = ctl_status(ctl, &st);
	return m;
}

int ctl_simple(struct ctl *ctl, const char *method,
	       const ProtobufCMessage *request)
{
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	int status;

	m = ctl_call(ctl, method, request, &status);
	if (m && ctl->json)
		ctl_print_json(m);
	return status;
}

int ctl_stream(struct ctl *ctl, const char *method,
	       const ProtobufCMessage *request, ctl_message_fn fn, void *arg)
{
	struct grpc_status st = { 0 };
	struct call *call;
	ProtobufCMessage *m;
	int status = ctl_begin(ctl);
	int r = 0;

	if (status)
		return status;
	call = call_open(ctl->client, method);
	if (call_send(call, request) == 0)
		call_half_close(call);
	while (r == 0 && (m = call_recv(call))) {
		r = fn(ctl, m, arg);
		message_free(m);
	}
	call_close(call, &st);
	if (r < 0)
		return CTL_REFUSED;
	if (st.code != GRPC_OK || client_interrupted(ctl->client))
		return ctl_status(ctl, &st);
	return CTL_OK;
}

void ctl_print_json(const ProtobufCMessage *m)
{
	json_response(stdout, m);
	putchar('\n');
}

char *ctl_request_id(void)
{
	static char id[40];
	uint8_t random[12];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		abort();
	memcpy(id, "ctl-", 4);
	str_hex(id + 4, random, sizeof(random));
	return id;
}

const char *ctl_time(char dst[CTL_TIME_MAX],
		     const Google__Protobuf__Timestamp *t)
{
	struct tm tm;
	time_t at;

	snprintf(dst, CTL_TIME_MAX, "-");
	if (!t)
		return dst;
	at = (time_t)t->seconds;
	if (localtime_r(&at, &tm))
		strftime(dst, CTL_TIME_MAX, "%Y-%m-%d %H:%M:%S", &tm);
	return dst;
}
