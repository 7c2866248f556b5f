/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_events.c - events, denied, stats */
#include "ctl/ctl.h"

#include "base/cloud_event.h"
#include "base/mem.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_cloud_event(const NODE(Event) * e)
{
	_cleanup_free_ struct cloud_pair *data =
		xcalloc(e->n_data + 1, sizeof(*data));
	const struct cloud_event event = {
		.sequence = e->sequence,
		.node_id = e->node_id,
		.type = e->type,
		.sandbox_id = e->sandbox_id,
		.seconds = e->time ? e->time->seconds : 0,
		.nanos = e->time ? e->time->nanos : 0,
		.data = data,
		.n_data = e->n_data,
	};

	for (size_t i = 0; i < e->n_data; i++)
		data[i] = (struct cloud_pair){ e->data[i]->key,
					       e->data[i]->value };
	cloud_event_write(stdout, &event);
	putchar('\n');
}

static void print_event(const NODE(Event) * e)
{
	char time[CTL_TIME_MAX];

	printf("%8" PRIu64 "  %s  %-20s %s", e->sequence,
	       ctl_time(time, e->time), e->type, e->sandbox_id);
	for (size_t i = 0; i < e->n_data; i++) {
		_cleanup_free_ char *value =
			text_safe(e->data[i]->value, strlen(e->data[i]->value));

		printf(" %s=%s", e->data[i]->key, value);
	}
	putchar('\n');
}

static int on_event(struct ctl *ctl, const ProtobufCMessage *m, void *arg)
{
	const NODE(WatchEventsResponse) *r =
		(const NODE(WatchEventsResponse) *)m;

	(void)arg;
	if (r->oldest_sequence)
		fprintf(stderr,
			"sandboxctl: events before %" PRIu64
			" are no longer kept\n",
			r->oldest_sequence);
	if (r->event && ctl->json)
		print_cloud_event(r->event);
	else if (r->event)
		print_event(r->event);
	return fflush(stdout) == 0 ? 0 : -1;
}

static int cmd_events(struct ctl *ctl)
{
	NODE(WatchEventsRequest) req = NODE_INIT(WATCH_EVENTS_REQUEST);
	const struct options *o = ctl->options;
	struct error err = { 0 };
	char *types[16];

	if (options_u64(o, "since", &req.since, &err) < 0)
		return ctl_usage(&err);
	req.sandbox_id = ctl_option(ctl, "sandbox");
	req.no_follow = !options_has(o, "follow");
	req.types = types;
	for (; req.n_types < sizeof(types) / sizeof(types[0]); req.n_types++) {
		const char *t = options_nth(o, "type", req.n_types);

		if (!t)
			break;
		types[req.n_types] = (char *)(uintptr_t)t;
	}
	return ctl_stream(ctl, "WatchEvents", &req.base, on_event, NULL);
}

static int cmd_denied(struct ctl *ctl)
{
	static const char *const head[] = { "TIME", "TARGET", "PORT", "PROTO",
					    "RULE", "COUNT",  NULL };
	NODE(ListDenialsRequest) req = NODE_INIT(LIST_DENIALS_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(ListDenialsResponse) * r;
	char time[CTL_TIME_MAX];
	struct table *t;
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	m = ctl_call(ctl, "ListDenials", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json) {
		ctl_print_json(m);
		return CTL_OK;
	}
	r = (const NODE(ListDenialsResponse) *)m;
	t = table_new(head);
	for (size_t i = 0; i < r->n_denials; i++) {
		const NODE(Denial) *d = r->denials[i];

		table_cell(t, "%s", ctl_time(time, d->time));
		if (*d->address && strcmp(d->address, d->target) != 0)
			table_cell(t, "%s (%s)", d->target, d->address);
		else
			table_cell(t, "%s", d->target);
		table_cell(t, "%u", d->port);
		table_cell(t, "%s", d->protocol);
		table_cell(t, "%s", d->rule);
		table_cell(t, "%u", d->count);
	}
	table_print(t, stdout);
	table_free(t);
	return CTL_OK;
}

static void line_size(const char *what, uint64_t bytes)
{
	char size[TEXT_SIZE_MAX];

	printf("%-18s %s\n", what, text_size(size, bytes));
}

static void print_stats(const NODE(GetStatsResponse) * r)
{
	printf("%-18s %.3f s\n", "cpu time", (double)r->cpu_time_ms / 1000);
	printf("%-18s %.3f s\n", "runtime", (double)r->runtime_ms / 1000);
	line_size("memory", r->memory_bytes);
	line_size("guest memory", r->guest_memory_total_bytes);
	line_size("  available", r->guest_memory_available_bytes);
	line_size("disk", r->disk_bytes);
	line_size("guest disk", r->guest_disk_total_bytes);
	line_size("  free", r->guest_disk_free_bytes);
	line_size("received", r->net_rx_bytes);
	line_size("sent", r->net_tx_bytes);
	printf("%-18s %" PRIu64 " in, %" PRIu64 " out\n", "packets",
	       r->net_rx_packets, r->net_tx_packets);
	printf("%-18s %u open, %" PRIu64 " allowed, %" PRIu64 " denied\n",
	       "connections", r->flows, r->allowed, r->denied);
	printf("%-18s %u\n", "processes", r->processes);
	if (r->cost > 0)
		printf("%-18s %.6f\n", "cost", r->cost);
}

static int cmd_stats(struct ctl *ctl)
{
	NODE(GetStatsRequest) req = NODE_INIT(GET_STATS_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	m = ctl_call(ctl, "GetStats", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json)
		ctl_print_json(m);
	else
		print_stats((const NODE(GetStatsResponse) *)m);
	return CTL_OK;
}

static const struct option_def events_options[] = {
	{ "follow", 'f', NULL, false, "wait for more" },
	{ "since", 0, "SEQ", false, "only those after this sequence number" },
	{ "sandbox", 0, "ID", false, "only of this sandbox" },
	{ "type", 0, "PREFIX", true, "only of this type" },
	{ 0 },
};

const struct command events_commands[] = {
	{ "events", "[--follow] [--since SEQ] [--sandbox ID]",
	  "print what happened", 0, 0, false, events_options, cmd_events },
	{ "denied", "ID", "what egress policy refused", 1, 1, false, NULL,
	  cmd_denied },
	{ "stats", "ID", "what it uses and has used", 1, 1, false, NULL,
	  cmd_stats },
	{ 0 },
};
