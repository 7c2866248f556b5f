/* SPDX-License-Identifier: Apache-2.0 */
/* counts.c - how many calls of each method there were, and how they ended */
#include "front/counts.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "front/wire.h"
#include "grpc.h"

#include <string.h>

static const char *const code_names[] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

#define CODES (sizeof(code_names) / sizeof(code_names[0]))

static void on_ended(const struct grpc_status *st, const char *method,
		     uint64_t since_us, void *arg)
{
	size_t code = (size_t)st->code < CODES ? (size_t)st->code : 2;
	struct front *front = arg;

	front->n_calls--;
	measures_add(&front->methods, method, code_names[code],
		     measure_since(since_us));
}

void counts_watch(struct front *front, struct grpc_call *call,
		  const char *method)
{
	front->n_calls++;
	grpc_call_watch(call, on_ended, method, measure_now(), front);
}

static uint32_t length(const struct list *list)
{
	uint32_t n = 0;

	for (const struct list *l = list->next; l != list; l = l->next)
		n++;
	return n;
}

void counts_answer(struct front *front, uint64_t id)
{
	const struct measures *m = &front->methods;
	Sandbox__Ipc__V1__FrontCounts counts =
		SANDBOX__IPC__V1__FRONT_COUNTS__INIT;
	_cleanup_free_ Sandbox__Ipc__V1__FrontCounts__Method *methods =
		xcalloc(m->n + 1, sizeof(*methods));
	_cleanup_free_ Sandbox__Ipc__V1__FrontCounts__Method **at =
		xcalloc(m->n + 1, sizeof(*at));
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	for (size_t i = 0; i < m->n; i++) {
		sandbox__ipc__v1__front_counts__method__init(&methods[i]);
		methods[i].method = (char *)(uintptr_t)m->v[i].name;
		methods[i].code = (char *)(uintptr_t)m->v[i].outcome;
		methods[i].n_buckets = HISTOGRAM_BUCKETS + 1;
		methods[i].buckets = m->v[i].h.n;
		methods[i].sum_seconds = m->v[i].h.sum;
		at[i] = &methods[i];
	}
	counts.n_methods = m->n;
	counts.methods = at;
	counts.connections = front->n_clients;
	counts.calls = front->n_calls;
	counts.agents = length(&front->links);
	counts.watchers = length(&front->watchers);
	counts.waiting = engine_waiting(front->engine);
	buf = wire_pack(&counts.base, &len);
	engine_reply(front->engine, id, NULL, buf, len);
}
