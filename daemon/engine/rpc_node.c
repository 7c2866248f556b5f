/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_node.c - the node: what it is and has, and draining it */
#include "engine/rpc.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "engine/sandbox_ops.h"

#include <stdio.h>
#include <string.h>

typedef Sandbox__Node__V1__GetNodeResponse PbNode;
typedef Sandbox__Node__V1__GetNodeResponse__LabelsEntry PbLabel;

#define PROBLEMS_MAX 8

static uint32_t running(struct engine *e)
{
	uint32_t n = 0;

	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		n += sb->row.state == SBX_RUNNING;
	return n;
}

/*
 * What an operator should mend, a sentence each. Emulation is none: a field of
 * its own tells of it, and it may be what the configuration asks for.
 */
static size_t find_problems(struct engine *e, char *ret[PROBLEMS_MAX])
{
	struct error err;
	size_t n = 0;

	if (!e->hv_up)
		ret[n++] = xstrdup("libvirt does not answer");
	if (!e->hv->info.cgroups)
		ret[n++] = xstrdup("no systemd with unified cgroups here: "
				   "guests are held to no limits of CPU, "
				   "memory, disk and tasks");
	if (!e->hv->info.clones_work)
		ret[n++] = xasprintf("%s: guests boot cold, and are saved "
				     "whole by libvirt",
				     e->config->mechanism ==
						     CONFIG_MECHANISM_LIBVIRT ?
					     "[snapshots] mechanism = libvirt" :
					     "QEMU failed the clone self-test");
	if (pressure_check(e, &err) < 0 ||
	    quota_check_disk(e->quota, e->config->state_dir, &err) < 0)
		ret[n++] = xstrdup(err.msg);
	if (image_count(e->images) == 0)
		ret[n++] = xstrdup("there is no image: import one");
	if (e->damaged)
		ret[n++] = xasprintf("%u rows of the state database cannot be "
				     "read: fsck tells which, and until then "
				     "nothing is tidied up",
				     e->damaged);
	if (e->foreign)
		ret[n++] = xstrdup("the database is new, but there are files "
				   "of guests beside it: nothing was removed");
	return n;
}

static void fill_use(struct engine *e, PbNode *r)
{
	struct quota_use use;

	quota_use(e->quota, &use);
	r->sandboxes = use.sandboxes;
	r->sandboxes_max = use.sandboxes_max;
	r->sandboxes_running = running(e);
	r->vcpus_used = use.vcpus;
	r->vcpus_max = use.vcpus_max;
	r->memory_used_mib = use.memory_mib;
	r->memory_max_mib = use.memory_max_mib;
	r->disk_used_mib = use.disk_mib;
	r->disk_max_mib = use.disk_max_mib;
	r->pool_ready = pool_ready(e, NULL);
	r->pool_wanted = pool_wanted_all(e);
}

int rpc_get_node(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	struct hv_info *info = &e->hv->info;
	const struct config_pairs *labels = &e->config->labels;
	PbNode r = SANDBOX__NODE__V1__GET_NODE_RESPONSE__INIT;
	PbLabel *label = xcalloc(labels->n + 1, sizeof(*label));
	PbLabel **at = xcalloc(labels->n + 1, sizeof(*at));
	char *problems[PROBLEMS_MAX];
	PbTime started;

	(void)err;
	r.node_id = e->node_id;
	r.version = (char *)(uintptr_t)PACKAGE_VERSION;
	r.accelerator = info->accelerator == HV_ACCEL_KVM ?
				SANDBOX__NODE__V1__ACCELERATOR__ACCELERATOR_KVM :
				SANDBOX__NODE__V1__ACCELERATOR__ACCELERATOR_TCG;
	r.security_boundary = info->accelerator == HV_ACCEL_KVM;
	r.libvirt_version = info->libvirt_version;
	r.qemu_version = info->qemu_version;
	r.guest_kernel = info->kernel_version;
	r.draining = e->draining;
	r.started_at = answer_time(&started, e->started_ms);
	r.agent_link = (char *)(uintptr_t)(info->vsock ? "vsock" : "serial");
	r.snapshot_mechanism =
		(char *)(uintptr_t)(info->clones_work ? "clone" : "save");
	fill_use(e, &r);
	for (size_t i = 0; i < labels->n; i++) {
		sandbox__node__v1__get_node_response__labels_entry__init(
			&label[i]);
		label[i].key = labels->v[i].key;
		label[i].value = labels->v[i].value;
		at[i] = &label[i];
	}
	r.n_labels = labels->n;
	r.labels = at;
	r.n_problems = find_problems(e, problems);
	r.problems = problems;
	call_finish(call, &r.base);
	for (size_t i = 0; i < r.n_problems; i++)
		free(problems[i]);
	free(label);
	free(at);
	return 0;
}

/* ---- drain ---- */

#define DRAIN_LOOK_MS 200

/* A DrainNode that waits for pauses. */
struct drain {
	struct list link;
	struct call *call;
	uint64_t deadline_ms;
};

static void drain_answer(struct engine *e, struct call *call)
{
	Sandbox__Node__V1__DrainNodeResponse r =
		SANDBOX__NODE__V1__DRAIN_NODE_RESPONSE__INIT;

	list_for_each(&e->sandboxes.all, sb, struct sandbox, link) {
		r.paused += sb->row.state == SBX_PAUSED;
		r.running += sandbox_holds_guest(sb) &&
			     sb->row.state != SBX_FAILED;
	}
	call_finish(call, &r.base);
}

/* Begin what pauses can begin; true: nothing runs any more. */
static bool pause_more(struct engine *e)
{
	bool left = false;

	list_for_each(&e->sandboxes.all, sb, struct sandbox, link) {
		switch (sb->row.state) {
		case SBX_RUNNING:
			left = true;
			if (!sb->task)
				sandbox_pause(sb, NULL, NULL);
			break;
		case SBX_CREATING:
		case SBX_PAUSING:
		case SBX_RESUMING:
			left = true;
			break;
		default:
			break;
		}
	}
	return !left;
}

static void drain_look(void *arg)
{
	struct engine *e = arg;
	bool through;

	if (e->stopping || list_empty(&e->drains))
		return;
	through = pause_more(e);
	list_for_each(&e->drains, d, struct drain, link) {
		if (!through && loop_now_ms() < d->deadline_ms)
			continue;
		drain_answer(e, d->call);
		list_del(&d->link);
		free(d);
	}
	if (!list_empty(&e->drains))
		loop_timer(e->loop, &e->drain_timer,
			   loop_now_ms() + DRAIN_LOOK_MS, drain_look, e);
}

void rpc_drains_free(struct engine *e)
{
	list_for_each(&e->drains, d, struct drain, link) {
		list_del(&d->link);
		free(d);
	}
}

int rpc_drain_node(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__DrainNodeRequest *req =
		(Sandbox__Node__V1__DrainNodeRequest *)call->request;
	bool drains = !req->undo;
	struct drain *d;

	if (req->undo && req->pause_all)
		return err_field(err, "pause_all", "cannot be with undo");
	if (e->draining != drains) {
		store_begin(e->store);
		store_meta_set(e->store, "draining", drains ? "1" : "");
		event_add(e, "node.draining", "",
			  EVENT_DATA({ "draining", drains ? "true" :
							    "false" }));
		if (event_commit(e, err) < 0)
			return -1;
		e->draining = drains;
		log_info("the node %s", drains ? "drains: no new sandboxes" :
						 "admits again");
	}
	if (!drains)
		pool_refill(e);
	else
		pool_empty(e);
	if (!req->pause_all) {
		drain_answer(e, call);
		return 0;
	}
	d = xcalloc(1, sizeof(*d));
	d->call = call;
	d->deadline_ms = loop_now_ms() +
			 (req->deadline_ms ? req->deadline_ms : 60000);
	list_add_tail(&e->drains, &d->link);
	loop_timer(e->loop, &e->drain_timer, loop_now_ms(), drain_look, e);
	return 0;
}
