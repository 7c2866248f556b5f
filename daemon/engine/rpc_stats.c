/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_stats.c - what a sandbox uses, and what it was refused */
#include "engine/rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/guest.h"
#include "engine/hv_call.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int rpc_list_denials(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__ListDenialsRequest *req =
		(Sandbox__Node__V1__ListDenialsRequest *)call->request;
	Sandbox__Node__V1__ListDenialsResponse r =
		SANDBOX__NODE__V1__LIST_DENIALS_RESPONSE__INIT;
	_cleanup_free_ struct net_denial *denials = NULL;
	_cleanup_free_ Sandbox__Node__V1__Denial *msgs = NULL;
	Sandbox__Node__V1__Denial *at[NET_DENIALS_MAX];
	PbTime times[NET_DENIALS_MAX];
	struct sandbox *sb;
	size_t n = 0;

	if (rpc_sandbox(e, req->sandbox_id, &sb, err) < 0)
		return -1;
	denials = xcalloc(NET_DENIALS_MAX, sizeof(*denials));
	msgs = xcalloc(NET_DENIALS_MAX, sizeof(*msgs));
	if (sb->row.slot >= 0)
		n = net_denials(e->net, &sb->slot, denials);
	for (size_t i = 0; i < n; i++) {
		sandbox__node__v1__denial__init(&msgs[i]);
		msgs[i].time = answer_time(&times[i], denials[i].time_ms);
		msgs[i].target = denials[i].target;
		msgs[i].address = denials[i].address;
		msgs[i].port = denials[i].port;
		msgs[i].protocol = denials[i].protocol;
		msgs[i].rule = denials[i].rule;
		msgs[i].count = denials[i].count;
		at[i] = &msgs[i];
	}
	r.n_denials = n;
	r.denials = at;
	call_finish(call, &r.base);
	return 0;
}

/* Gathered from the hypervisor, then from the guest, then answered. */
struct stats {
	struct call *call;
	char id[SANDBOX_ID_MAX + 1];
	Sandbox__Node__V1__GetStatsResponse r;
};

uint64_t rpc_disk_bytes(struct engine *e, const struct sandbox *sb)
{
	char path[PATH_MAX];
	uint64_t bytes = 0;
	struct dirent *entry;
	DIR *dir;

	if (!sb->row.uuid[0])
		return 0;
	engine_path(e, "guests", sb->row.uuid, path, sizeof(path));
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		struct stat st;

		if (fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return bytes;
}

static void finish(struct stats *s)
{
	struct engine *e = s->call->engine;
	struct sandbox *sb = sandbox_find(&e->sandboxes, s->id);
	struct net_counters c;
	struct error err;

	if (!sb) {
		err_set(&err, ERR_NOT_FOUND, "sandbox '%s' is gone", s->id);
		call_fail(s->call, &err);
		free(s);
		return;
	}
	if (sb->row.slot >= 0 &&
	    net_counters(e->net, &sb->slot, &c, NULL) == 0) {
		s->r.net_rx_bytes = c.rx_bytes;
		s->r.net_tx_bytes = c.tx_bytes;
		s->r.net_rx_packets = c.rx_packets;
		s->r.net_tx_packets = c.tx_packets;
		s->r.flows = c.flows;
		s->r.allowed = c.allowed;
		s->r.denied = c.denied;
	}
	s->r.cpu_time_ms += sb->row.cpu_ms;
	s->r.disk_bytes = rpc_disk_bytes(e, sb);
	s->r.runtime_ms = sandbox_runtime_ms(sb);
	s->r.cost = event_cost(sb);
	call_finish(s->call, &s->r.base);
	free(s);
}

static void from_guest(const struct error *err, const uint8_t *data, size_t len,
		       void *arg)
{
	struct stats *s = arg;
	_cleanup_pb_ Sandbox__Agent__V1__StatsResponse *msg = NULL;

	if (!err)
		msg = sandbox__agent__v1__stats_response__unpack(NULL, len,
								 data);
	if (msg) {
		s->r.guest_memory_total_bytes = msg->memory_total_bytes;
		s->r.guest_memory_available_bytes = msg->memory_available_bytes;
		s->r.guest_disk_total_bytes = msg->disk_total_bytes;
		s->r.guest_disk_free_bytes = msg->disk_free_bytes;
		s->r.processes = msg->processes;
	}
	finish(s);
}

static void from_hv(struct hv_call *call, int rc, const struct error *err)
{
	struct stats *s = call->arg;
	struct engine *e = s->call->engine;
	struct sandbox *sb = sandbox_find(&e->sandboxes, s->id);

	(void)err;
	if (e->stopping) {
		free(s);
		return;
	}
	if (rc == 0) {
		s->r.cpu_time_ms = call->cpu_ms;
		s->r.memory_bytes = call->memory;
	}
	if (sb && sb->attached)
		front_link_call(e->front, s->id, "Stats", (uint8_t *)"", 0,
				2000, from_guest, s);
	else
		finish(s);
}

int rpc_get_stats(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__GetStatsRequest *req =
		(Sandbox__Node__V1__GetStatsRequest *)call->request;
	struct sandbox *sb;
	struct hv_call *ask;
	struct stats *s;

	if (rpc_sandbox(e, req->sandbox_id, &sb, err) < 0)
		return -1;
	s = xcalloc(1, sizeof(*s));
	s->call = call;
	snprintf(s->id, sizeof(s->id), "%s", sb->row.id);
	sandbox__node__v1__get_stats_response__init(&s->r);
	if (sb->row.state != SBX_RUNNING) {
		finish(s);
		return 0;
	}
	ask = xcalloc(1, sizeof(*ask));
	ask->op = HV_STATS;
	ask->flag = true;
	snprintf(ask->spec.uuid, sizeof(ask->spec.uuid), "%s", sb->row.uuid);
	ask->done = from_hv;
	ask->arg = s;
	hv_call_start(e, ask);
	free(ask);
	return 0;
}
