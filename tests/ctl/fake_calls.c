/* SPDX-License-Identifier: Apache-2.0 */
/* fake_calls.c - the fake's sandboxes, images, snapshots, events, node */
#include "fake.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fill(NODE(Sandbox) * s, NODE(Resources) * res,
		 Google__Protobuf__Timestamp *created)
{
	sandbox__node__v1__sandbox__init(s);
	sandbox__node__v1__resources__init(res);
	google__protobuf__timestamp__init(created);
	created->seconds = 1700000000;
	created->nanos = 500000000;
	res->cpu = 2;
	res->memory_mib = 4096;
	res->disk_mib = 10240;
	s->id = (char *)(uintptr_t) "sb_1";
	s->state = NODE_ENUM(SANDBOX_STATE, RUNNING);
	s->image = (char *)(uintptr_t) "debian:12";
	s->generation = 9007199254740993; /* no double holds it */
	s->resources = res;
	s->created_at = created;
}

static void create(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(CreateSandboxRequest) *r =
		(const NODE(CreateSandboxRequest) *)m;
	NODE(CreateSandboxResponse) resp = NODE_INIT(CREATE_SANDBOX_RESPONSE);
	Google__Protobuf__Timestamp created;
	NODE(Resources) res;
	NODE(Sandbox) s;

	if (strcmp(r->image, "none") == 0) {
		fake_refuse(c, GRPC_NOT_FOUND, "IMAGE_NOT_FOUND",
			    "there is no image 'none'");
		return;
	}
	fill(&s, &res, &created);
	s.image = r->image;
	if (*r->sandbox_id)
		s.id = r->sandbox_id;
	if (r->resources->cpu)
		res.cpu = r->resources->cpu;
	s.timeout_ms = r->timeout_ms;
	s.n_env = r->n_env;
	s.env = (NODE(Sandbox__EnvEntry) **)r->env;
	for (size_t i = 0; i < s.n_env; i++)
		s.env[i]->base.descriptor =
			&sandbox__node__v1__sandbox__env_entry__descriptor;
	s.egress = r->egress;
	s.n_allow_ports = r->n_allow_ports;
	s.allow_ports = r->allow_ports;
	resp.sandbox = &s;
	fake_answer(c, &resp.base);
}

static void get(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(GetSandboxRequest) *r = (const NODE(GetSandboxRequest) *)m;
	NODE(GetSandboxResponse) resp = NODE_INIT(GET_SANDBOX_RESPONSE);
	Google__Protobuf__Timestamp created;
	NODE(Resources) res;
	NODE(Sandbox) s;

	if (!fake_knows(c, r->sandbox_id))
		return;
	fill(&s, &res, &created);
	resp.sandbox = &s;
	fake_answer(c, &resp.base);
}

static void list(struct fake_call *c, const ProtobufCMessage *m)
{
	NODE(ListSandboxesResponse) resp = NODE_INIT(LIST_SANDBOXES_RESPONSE);
	Google__Protobuf__Timestamp created;
	NODE(Resources) res;
	NODE(Sandbox) s, *one = &s;

	(void)m;
	fill(&s, &res, &created);
	resp.sandboxes = &one;
	resp.n_sandboxes = 1;
	fake_answer(c, &resp.base);
}

static void pause_sandbox(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(PauseSandboxRequest) *r =
		(const NODE(PauseSandboxRequest) *)m;

	if (fake_knows(c, r->sandbox_id))
		fake_refuse(c, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
			    "the sandbox is PAUSED");
}

/* A node that hangs up in the middle of a call. */
static void terminate(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(TerminateSandboxRequest) *r =
		(const NODE(TerminateSandboxRequest) *)m;
	NODE(TerminateSandboxResponse)
	resp = NODE_INIT(TERMINATE_SANDBOX_RESPONSE);
	NODE(Sandbox) s = NODE_INIT(SANDBOX);

	if (strcmp(r->sandbox_id, "sb_hangup") == 0)
		_exit(0);
	if (strcmp(r->sandbox_id, "sb_stuck") == 0) {
		s.state =
			SANDBOX__NODE__V1__SANDBOX_STATE__SANDBOX_STATE_TERMINATING;
		s.state_reason = (char *)(uintptr_t) "libvirt hangs";
		resp.sandbox = &s;
	} else if (!fake_knows(c, r->sandbox_id)) {
		return;
	}
	fake_answer(c, &resp.base);
}

static void fork_sandbox(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(ForkSandboxRequest) *r = (const NODE(ForkSandboxRequest) *)m;
	NODE(ForkSandboxResponse) resp = NODE_INIT(FORK_SANDBOX_RESPONSE);
	Google__Protobuf__Timestamp created;
	NODE(Resources) res;
	NODE(Sandbox) s, *forks[64];

	if (strcmp(r->snapshot_id, "snap_1") != 0 &&
	    !fake_knows(c, r->sandbox_id))
		return;
	fill(&s, &res, &created);
	for (resp.n_sandboxes = 0; resp.n_sandboxes < r->count;
	     resp.n_sandboxes++)
		forks[resp.n_sandboxes] = &s;
	resp.sandboxes = forks;
	fake_answer(c, &resp.base);
}

static void watch_events(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(WatchEventsRequest) *r = (const NODE(WatchEventsRequest) *)m;
	NODE(WatchEventsResponse) resp = NODE_INIT(WATCH_EVENTS_RESPONSE);
	Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	NODE(Event__DataEntry) entry = NODE_INIT(EVENT__DATA_ENTRY);
	NODE(Event__DataEntry) *data = &entry;
	NODE(Event) e = NODE_INIT(EVENT);

	time.seconds = 1700000000;
	entry.key = (char *)(uintptr_t) "reason";
	entry.value = (char *)(uintptr_t) "a \"quoted\"\n\x1b[31mword";
	e.type = (char *)(uintptr_t) "sandbox.terminated";
	e.sandbox_id = (char *)(uintptr_t) "sb_1";
	e.time = &time;
	e.data = &data;
	e.n_data = 1;
	resp.event = &e;
	for (e.sequence = r->since + 1; e.sequence <= 3; e.sequence++)
		fake_send(c, &resp.base);
	if (r->no_follow)
		fake_finish(c);
}

static void get_node(struct fake_call *c, const ProtobufCMessage *m)
{
	NODE(GetNodeResponse) resp = NODE_INIT(GET_NODE_RESPONSE);
	char *problem = (char *)(uintptr_t) "The pool is empty.";

	(void)m;
	resp.node_id = (char *)(uintptr_t) "fake";
	resp.version = (char *)(uintptr_t) "0";
	resp.accelerator = NODE_ENUM(ACCELERATOR, KVM);
	resp.libvirt_version = (char *)(uintptr_t) "9.0.0";
	resp.guest_kernel = (char *)(uintptr_t) "6.1";
	resp.disk_max_mib = 1000;
	if (getenv("FAKE_PROBLEM")) {
		resp.problems = &problem;
		resp.n_problems = 1;
	}
	fake_answer(c, &resp.base);
}

/* ---- images and snapshots: the bytes are counted ---- */

static void import_image(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(ImportImageRequest) *r = (const NODE(ImportImageRequest) *)m;
	NODE(ImportImageResponse) resp = NODE_INIT(IMPORT_IMAGE_RESPONSE);
	NODE(Progress) progress = NODE_INIT(PROGRESS);
	uint64_t *bytes = c->state;

	if (!bytes)
		c->state = bytes = xcalloc(1, sizeof(*bytes));
	if (r->input_case == NODE_CASE(IMPORT_IMAGE_REQUEST__INPUT, DATA)) {
		*bytes += r->data.len;
		return;
	}
	progress.step = (char *)(uintptr_t) "unpacking";
	resp.output_case = NODE_CASE(IMPORT_IMAGE_RESPONSE__OUTPUT, PROGRESS);
	resp.progress = &progress;
	fake_send(c, &resp.base);
}

static void import_image_end(struct fake_call *c)
{
	NODE(ImportImageResponse) resp = NODE_INIT(IMPORT_IMAGE_RESPONSE);
	NODE(Image) image = NODE_INIT(IMAGE);
	char digest[32];

	snprintf(digest, sizeof(digest), "bytes:%llu",
		 (unsigned long long)*(uint64_t *)c->state);
	image.name = (char *)(uintptr_t) "imported";
	image.digest = digest;
	resp.output_case = NODE_CASE(IMPORT_IMAGE_RESPONSE__OUTPUT, IMAGE);
	resp.image = &image;
	fake_answer(c, &resp.base);
}

/* A good one, and one that the node's database no longer tells of. */
static void list_snapshots(struct fake_call *c, const ProtobufCMessage *m)
{
	NODE(ListSnapshotsResponse) resp = NODE_INIT(LIST_SNAPSHOTS_RESPONSE);
	Google__Protobuf__Timestamp created;
	NODE(Snapshot) good = NODE_INIT(SNAPSHOT), bad = NODE_INIT(SNAPSHOT);
	NODE(Snapshot) *both[] = { &good, &bad };

	(void)m;
	google__protobuf__timestamp__init(&created);
	created.seconds = 1700000000;
	good.id = (char *)(uintptr_t) "snap_1";
	good.name = (char *)(uintptr_t) "first";
	good.sandbox_id = (char *)(uintptr_t) "sb_1";
	good.image = (char *)(uintptr_t) "debian:12";
	good.created_at = bad.created_at = &created;
	good.size_bytes = 1 << 20;
	bad.id = (char *)(uintptr_t) "snap_bad";
	bad.sandbox_id = (char *)(uintptr_t) "sb_2";
	bad.problem = (char *)(uintptr_t) "STATE_UNREADABLE";
	resp.snapshots = both;
	resp.n_snapshots = 2;
	fake_answer(c, &resp.base);
}

/* Only a whole import leaves a trace, which the tests look for. */
static void export_snapshot(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(ExportSnapshotRequest) *r =
		(const NODE(ExportSnapshotRequest) *)m;
	NODE(ExportSnapshotResponse) resp = NODE_INIT(EXPORT_SNAPSHOT_RESPONSE);
	uint8_t data[1000];

	memset(data, 's', sizeof(data));
	resp.data.data = data;
	resp.data.len = sizeof(data);
	fake_send(c, &resp.base);
	if (strcmp(r->snapshot_id, "snap_bad") == 0)
		fake_refuse(c, GRPC_DATA_LOSS, "INTERNAL",
			    "frame 1 does not verify");
	else
		fake_finish(c);
}

const struct fake_method fake_node_methods[] = {
	{ .name = "CreateSandbox", .message = create },
	{ .name = "GetSandbox", .message = get },
	{ .name = "ListSandboxes", .message = list },
	{ .name = "PauseSandbox", .message = pause_sandbox },
	{ .name = "TerminateSandbox", .message = terminate },
	{ .name = "ForkSandbox", .message = fork_sandbox },
	{ .name = "WatchEvents", .message = watch_events },
	{ .name = "GetNode", .message = get_node },
	{ .name = "ImportImage",
	  .message = import_image,
	  .half_close = import_image_end },
	{ .name = "ListSnapshots", .message = list_snapshots },
	{ .name = "ExportSnapshot", .message = export_snapshot },
	{ 0 },
};
