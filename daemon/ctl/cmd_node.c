/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_node.c - node, node drain, doctor, fsck */
#include "ctl/ctl.h"

#include "ctl/json.h"
#include "ctl/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Below this share of free disk the doctor complains. */
#define DISK_LOW_PERCENT 10

static const char *accelerator_name(NODE(Accelerator) a)
{
	switch ((int)a) {
	case NODE_ENUM(ACCELERATOR, KVM):
		return "KVM";
	case NODE_ENUM(ACCELERATOR, TCG):
		return "TCG (emulation, no security boundary)";
	default:
		return "none";
	}
}

static void print_node(const NODE(GetNodeResponse) * n)
{
	char time[CTL_TIME_MAX];

	printf("%-14s %s\n", "node", n->node_id);
	printf("%-14s %s, since %s\n", "version", n->version,
	       ctl_time(time, n->started_at));
	printf("%-14s %s\n", "accelerator", accelerator_name(n->accelerator));
	printf("%-14s libvirt %s, QEMU %s, guests' Linux %.*s\n", "software",
	       n->libvirt_version, n->qemu_version,
	       (int)strcspn(n->guest_kernel, " "), n->guest_kernel);
	printf("%-14s agents by %s, snapshots by %s\n", "mechanisms",
	       n->agent_link, n->snapshot_mechanism);
	printf("%-14s %u of %u, %u running, %u of %u clones waiting%s\n",
	       "sandboxes", n->sandboxes, n->sandboxes_max,
	       n->sandboxes_running, n->pool_ready, n->pool_wanted,
	       n->draining ? " (draining)" : "");
	printf("%-14s %u of %u\n", "vCPUs", n->vcpus_used, n->vcpus_max);
	printf("%-14s %" PRIu64 " of %" PRIu64 " MiB\n", "memory",
	       n->memory_used_mib, n->memory_max_mib);
	printf("%-14s %" PRIu64 " of %" PRIu64 " MiB\n", "disk",
	       n->disk_used_mib, n->disk_max_mib);
	for (size_t i = 0; i < n->n_labels; i++)
		printf("%-14s %s=%s\n", i ? "" : "labels", n->labels[i]->key,
		       n->labels[i]->value);
	for (size_t i = 0; i < n->n_problems; i++)
		printf("%-14s %s\n", i ? "" : "problems", n->problems[i]);
}

static int cmd_node(struct ctl *ctl)
{
	NODE(GetNodeRequest) req = NODE_INIT(GET_NODE_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	int status;

	m = ctl_call(ctl, "GetNode", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json)
		ctl_print_json(m);
	else
		print_node((const NODE(GetNodeResponse) *)m);
	return CTL_OK;
}

static int cmd_drain(struct ctl *ctl)
{
	NODE(DrainNodeRequest) req = NODE_INIT(DRAIN_NODE_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(DrainNodeResponse) * r;
	struct error err = { 0 };
	int status;

	req.request_id = ctl_request_id();
	req.undo = options_has(ctl->options, "undo");
	req.pause_all = options_has(ctl->options, "pause-all");
	if (options_duration(ctl->options, "deadline", &req.deadline_ms, &err) <
	    0)
		return ctl_usage(&err);
	m = ctl_call(ctl, "DrainNode", &req.base, &status);
	if (!m)
		return status;
	r = (const NODE(DrainNodeResponse) *)m;
	if (ctl->json)
		ctl_print_json(m);
	else
		printf("%s: %u running, %u paused\n",
		       req.undo ? "admitting again" : "draining", r->running,
		       r->paused);
	return CTL_OK;
}

/* ---- doctor ---- */

enum verdict {
	GOOD,
	WARNING, /* works, and one should know */
	BAD,

	VERDICT_COUNT,
};

struct doctor {
	bool json;
	int n;
	bool bad;
};

static void find(struct doctor *d, enum verdict v, const char *name,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void find(struct doctor *d, enum verdict v, const char *name,
		 const char *fmt, ...)
{
	static const char *const words[] = { "ok", "warning", "bad" };
	_cleanup_free_ char *text = NULL;
	va_list ap;

	static_assert(sizeof(words) / sizeof(words[0]) == VERDICT_COUNT,
		      "a word each");
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	d->bad |= v == BAD;
	if (!d->json) {
		printf("%-8s %-11s %s\n", words[v], name, text);
		return;
	}
	printf("%s{\"check\":\"%s\",\"result\":\"%s\",\"text\":",
	       d->n++ ? "," : "", name, words[v]);
	json_string(stdout, text);
	putchar('}');
}

static void check_disk(struct doctor *d, const NODE(GetNodeResponse) * n)
{
	uint64_t left = n->disk_max_mib > n->disk_used_mib
				? n->disk_max_mib - n->disk_used_mib
				: 0;

	if (n->disk_max_mib == 0)
		find(d, WARNING, "disk",
		     "The node does not say how much disk "
		     "it may use.");
	else if (left * 100 < n->disk_max_mib * DISK_LOW_PERCENT)
		find(d, BAD, "disk",
		     "Only %" PRIu64 " of %" PRIu64 " MiB are left.", left,
		     n->disk_max_mib);
	else
		find(d, GOOD, "disk",
		     "%" PRIu64 " of %" PRIu64 " MiB are left.", left,
		     n->disk_max_mib);
}

static void check_accelerator(struct doctor *d, const NODE(GetNodeResponse) * n)
{
	if (n->accelerator == NODE_ENUM(ACCELERATOR, KVM))
		find(d, GOOD, "accelerator", "KVM starts guests.");
	else if (n->accelerator == NODE_ENUM(ACCELERATOR, TCG))
		find(d, WARNING, "accelerator",
		     "Guests are emulated (TCG): slow, and not a security "
		     "boundary.");
	else
		find(d, BAD, "accelerator",
		     "Neither KVM nor emulation starts a guest.");
}

static void examine(struct doctor *d, const NODE(GetNodeResponse) * n)
{
	find(d, GOOD, "node", "%s runs version %s%s.", n->node_id, n->version,
	     n->draining ? " and is draining" : "");
	if (*n->libvirt_version)
		find(d, GOOD, "libvirt", "libvirt %s answers, with QEMU %s.",
		     n->libvirt_version, n->qemu_version);
	else
		find(d, BAD, "libvirt", "libvirt does not answer.");
	check_accelerator(d, n);
	if (*n->guest_kernel)
		find(d, GOOD, "kernel", "Guests run Linux %.*s.",
		     (int)strcspn(n->guest_kernel, " "), n->guest_kernel);
	else
		find(d, BAD, "kernel",
		     "There is no guest kernel; build-guest-kernel makes it.");
	if (strcmp(n->snapshot_mechanism, "save") == 0)
		find(d, WARNING, "snapshots",
		     "Guests are saved whole, by libvirt: slower and larger "
		     "than clones.");
	else if (*n->snapshot_mechanism)
		find(d, GOOD, "snapshots", "Snapshots use %s.",
		     n->snapshot_mechanism);
	check_disk(d, n);
	for (size_t i = 0; i < n->n_problems; i++)
		find(d, BAD, "problem", "%s", n->problems[i]);
}

static int cmd_doctor(struct ctl *ctl)
{
	NODE(GetNodeRequest) req = NODE_INIT(GET_NODE_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	struct doctor d = { .json = ctl->json };
	int status;

	if (d.json)
		fputs("{\"checks\":[", stdout);
	m = ctl_call(ctl, "GetNode", &req.base, &status);
	if (m) {
		find(&d, GOOD, "connection", "%s answers.",
		     ctl->target.address);
		examine(&d, (const NODE(GetNodeResponse) *)m);
	} else {
		find(&d, BAD, "connection", "%s does not answer.",
		     ctl->target.address);
	}
	if (d.json)
		printf("],\"ok\":%s}\n", d.bad ? "false" : "true");
	if (status)
		return status;
	return d.bad ? CTL_REFUSED : CTL_OK;
}

/* ---- fsck ---- */

static int cmd_fsck(struct ctl *ctl)
{
	NODE(CheckStateRequest) req = NODE_INIT(CHECK_STATE_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(CheckStateResponse) * r;
	unsigned long long left;
	int status;

	req.request_id = ctl_request_id();
	req.repair = options_has(ctl->options, "repair");
	m = ctl_call(ctl, "CheckState", &req.base, &status);
	if (!m)
		return status;
	r = (const NODE(CheckStateResponse) *)m;
	left = r->untold;
	for (size_t i = 0; i < r->n_problems; i++)
		left += !r->problems[i]->repaired;
	if (ctl->json) {
		ctl_print_json(m);
		return left ? CTL_REFUSED : CTL_OK;
	}
	for (size_t i = 0; i < r->n_problems; i++)
		printf("%s: %s: %s%s\n", r->problems[i]->kind,
		       r->problems[i]->path, r->problems[i]->text,
		       r->problems[i]->repaired ? ": repaired" : "");
	printf("%llu snapshots, templates and images read, %llu problems, "
	       "%llu left\n", (unsigned long long)r->checked,
	       (unsigned long long)(r->n_problems + r->untold), left);
	return left ? CTL_REFUSED : CTL_OK;
}

static const struct option_def fsck_options[] = {
	{ "repair", 0, NULL, false, "put right what can be" },
	{ 0 },
};

static const struct option_def drain_options[] = {
	{ "undo", 0, NULL, false, "admit sandboxes again" },
	{ "pause-all", 0, NULL, false, "pause every running sandbox" },
	{ "deadline", 0, "DUR", false, "for that (60s)" },
	{ 0 },
};

const struct command node_commands[] = {
	{ "node", "", "versions, capacity, use", 0, 0, false, NULL, cmd_node },
	{ "node drain", "[--undo] [--pause-all]", "admit no more sandboxes", 0,
	  0, false, drain_options, cmd_drain },
	{ "doctor", "", "say what is wrong with the node", 0, 0, false, NULL,
	  cmd_doctor },
	{ "fsck", "[--repair]", "check every stored file", 0, 0, false,
	  fsck_options, cmd_fsck },
	{ 0 },
};
