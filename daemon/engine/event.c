/* SPDX-License-Identifier: Apache-2.0 */
/* event.c - the event log */
#include "engine/event.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/webhook.h"

#include <stdio.h>
#include <string.h>

typedef Sandbox__Node__V1__Event PbEvent;
typedef Sandbox__Node__V1__Event__DataEntry PbData;

void event_add(struct engine *e, const char *type, const char *sandbox_id,
	       const struct front_pair *data, size_t n)
{
	_cleanup_free_ PbData *entries = xcalloc(n + 1, sizeof(*entries));
	_cleanup_free_ PbData **at = xcalloc(n + 1, sizeof(*at));
	_cleanup_free_ uint8_t *packed = NULL;
	PbEvent msg = SANDBOX__NODE__V1__EVENT__INIT;
	struct store_event event = { .time_ms = loop_wall_ms() };

	for (size_t i = 0; i < n; i++) {
		sandbox__node__v1__event__data_entry__init(&entries[i]);
		entries[i].key = (char *)(uintptr_t)data[i].key;
		entries[i].value = (char *)(uintptr_t)data[i].value;
		at[i] = &entries[i];
	}
	msg.n_data = n;
	msg.data = at;
	packed = pb_pack(&msg.base, &event.data_len);
	event.data = packed;
	snprintf(event.type, sizeof(event.type), "%s", type);
	snprintf(event.sandbox_id, sizeof(event.sandbox_id), "%s", sandbox_id);
	store_event_add(e->store, &event);
	tally_add(&e->metrics.events, event.type, 1);
}

int event_commit(struct engine *e, struct error *err)
{
	uint64_t oldest, newest;

	if (store_commit(e->store, err) < 0)
		return -1;
	store_events_range(e->store, &oldest, &newest);
	if (newest > e->events_newest) {
		e->events_newest = newest;
		if (e->front)
			front_link_events_grew(e->front, newest);
		webhook_grew(e->webhook);
	}
	return 0;
}

void event_emit(struct engine *e, const char *type, const char *sandbox_id,
		const struct front_pair *data, size_t n)
{
	struct error err;

	store_begin(e->store);
	event_add(e, type, sandbox_id, data, n);
	if (event_commit(e, &err) < 0)
		log_warn("event %s is lost: %s", type, err.msg);
}

static double cost_of(const struct sandbox *sb, double run_ms, double disk_ms)
{
	const struct config_rates *r = &sb->engine->config->rates;
	const Sandbox__Node__V1__Resources *res = sb->row.spec->resources;

	return run_ms / 3600000.0 *
		       (res->cpu * r->vcpu_hour +
			res->memory_mib / 1024.0 * r->memory_gib_hour) +
	       disk_ms / 3600000.0 * (res->disk_mib / 1024.0) *
		       r->disk_gib_hour;
}

double event_cost(const struct sandbox *sb)
{
	const struct sandbox_row *row = &sb->row;
	int64_t end = row->terminated_ms ? row->terminated_ms : loop_wall_ms();
	double run = (double)sandbox_runtime_ms(sb);
	double held = (double)(end - row->created_ms);

	return cost_of(sb, run, held > run ? held : run);
}

void event_add_cost(struct sandbox *sb, bool ran, uint64_t ms, uint64_t cpu_ms)
{
	const Sandbox__Node__V1__Resources *res = sb->row.spec->resources;
	double s = (double)ms / 1000, gib = s / 1024;
	char text[7][32];

	if (ms == 0)
		return;
	snprintf(text[0], sizeof(*text), "%llu", (unsigned long long)ms);
	snprintf(text[1], sizeof(*text), "%.3f", ran ? s * res->cpu : 0);
	snprintf(text[2], sizeof(*text), "%.3f", (double)cpu_ms / 1000);
	snprintf(text[3], sizeof(*text), "%.3f",
		 ran ? gib * res->memory_mib : 0);
	snprintf(text[4], sizeof(*text), "%.3f", gib * res->disk_mib);
	snprintf(text[5], sizeof(*text), "%.6f",
		 cost_of(sb, ran ? (double)ms : 0, (double)ms));
	snprintf(text[6], sizeof(*text), "%llu",
		 ran ? (unsigned long long)ms : 0);
	event_add(sb->engine, "cost.runtime", sb->row.id,
		  EVENT_DATA({ "state", ran ? "RUNNING" : "PAUSED" },
			     { "durationMs", text[0] },
			     { "runtimeDurationMs", text[6] },
			     { "vcpuSeconds", text[1] },
			     { "cpuSeconds", text[2] },
			     { "memoryGibSeconds", text[3] },
			     { "diskGibSeconds", text[4] },
			     { "cost", text[5] },
			     { "tenant", sb->row.spec->tenant }));
}

/* One answer being put together. */
struct reading {
	char *const *types;
	size_t n_types;
	uint64_t last;
	size_t n, bytes, limit, seen;
	char *node_id;
	ProtobufCBinaryData *events;
};

static bool type_matches(const struct reading *r, const char *type)
{
	for (size_t i = 0; i < r->n_types; i++)
		if (!strncmp(type, r->types[i], strlen(r->types[i])))
			return true;
	return r->n_types == 0;
}

static bool take_event(const struct store_event *row, void *arg)
{
	struct reading *r = arg;
	PbTime time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	_cleanup_pb_ PbEvent *event = NULL;
	PbEvent out = SANDBOX__NODE__V1__EVENT__INIT;
	ProtobufCBinaryData *at;

	r->seen++;
	if (!type_matches(r, row->type)) {
		r->last = row->sequence;
		return true;
	}
	if (r->n == r->limit || r->bytes > EVENT_READ_BYTES)
		return false;
	r->last = row->sequence;
	event = sandbox__node__v1__event__unpack(NULL, row->data_len,
						 row->data);
	if (!event)
		return true;
	time.seconds = row->time_ms / 1000;
	time.nanos = (int32_t)(row->time_ms % 1000) * 1000000;
	out.sequence = row->sequence;
	out.type = (char *)(uintptr_t)row->type;
	out.sandbox_id = (char *)(uintptr_t)row->sandbox_id;
	out.time = &time;
	out.n_data = event->n_data;
	out.data = event->data;
	out.node_id = r->node_id;
	r->events = xrealloc(r->events, r->n + 1, sizeof(*r->events));
	at = &r->events[r->n++];
	at->data = pb_pack(&out.base, &at->len);
	r->bytes += at->len;
	return true;
}

Sandbox__Ipc__V1__ReadEventsResponse *
event_fetch(struct engine *e, uint64_t since, const char *sandbox_id,
	    char *const *types, size_t n_types, uint32_t limit,
	    struct error *err)
{
	struct reading r = { .types = types, .n_types = n_types,
			     .last = since, .node_id = e->node_id };
	Sandbox__Ipc__V1__ReadEventsResponse *msg =
		xcalloc(1, sizeof(*msg));
	/* Rows looked at in one turn, so that a filter cannot hold the loop. */
	const uint32_t rows = 4096;
	int rc;

	sandbox__ipc__v1__read_events_response__init(msg);
	r.limit = limit && limit < EVENT_READ_MAX ? limit : EVENT_READ_MAX;
	rc = store_events(e->store, since, sandbox_id, rows, take_event, &r,
			  err);
	store_events_range(e->store, &msg->oldest_sequence,
			   &msg->newest_sequence);
	/* All rows of this sandbox were seen: nothing before the newest. */
	if (r.seen < rows && r.n < r.limit && r.bytes <= EVENT_READ_BYTES &&
	    r.last < msg->newest_sequence)
		r.last = msg->newest_sequence;
	msg->next_since = r.last;
	msg->n_events = r.n;
	msg->events = r.events;
	if (rc == 0)
		return msg;
	pb_free(msg);
	return NULL;
}

void event_read(struct engine *e, uint64_t call_id, uint64_t since,
		const char *sandbox_id, char *const *types, size_t n_types,
		uint32_t limit)
{
	struct error err;
	_cleanup_pb_ Sandbox__Ipc__V1__ReadEventsResponse *msg = event_fetch(
		e, since, sandbox_id, types, n_types, limit, &err);
	_cleanup_free_ uint8_t *packed = NULL;
	size_t len = 0;

	if (msg)
		packed = pb_pack(&msg->base, &len);
	front_link_reply(e->front, call_id, msg ? NULL : &err, packed, len,
			 false);
}

void event_trim(struct engine *e)
{
	struct error err;

	store_begin(e->store);
	store_events_trim(e->store, e->config->events_max,
			  loop_wall_ms() - (int64_t)e->config->events_age_ms);
	store_requests_expire(e->store, loop_wall_ms());
	if (store_commit(e->store, &err) < 0)
		log_warn("old events are kept: %s", err.msg);
}
