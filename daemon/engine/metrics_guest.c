/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_guest.c - the metrics of each sandbox
 *
 * Theory of operation
 * ===================
 *
 * The format wants all samples of one family together, so everything is
 * gathered first. Three phases: guests that run are measured by jobs, two at a
 * time, so that the workers stay free for what sandboxes need; then the rest of
 * each sandbox is read on the main thread, SLICE of them a turn of the loop;
 * then the text is made. What is gathered names sandboxes by id: any may be
 * gone by the next turn.
 */
#include "engine/metrics.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/prom.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE	      32
#define JOBS_MAX      2
#define MEASURE_MS    2000  /* for all guests together */
#define FRESH_MS      5000  /* a measurement holds so long */
#define SANDBOXES_MAX 20000 /* in one answer */

/* What one sandbox is and has used. */
struct sample {
	char id[SANDBOX_ID_MAX + 1];
	bool there, network;
	enum sandbox_state state;
	char start_kind[12];
	char *image, *tenant;
	char template_id[OBJECT_ID_SIZE];
	uint32_t cpu, memory_mib, disk_mib;
	double created, runtime, cpu_seconds, cost;
	uint64_t memory, disk, generation;
	struct net_counters net;
};

struct gathering {
	struct engine *engine;
	metrics_text_fn done;
	void *arg;
	struct sample *v;
	size_t n, measured, read;
	unsigned int jobs;
	bool told;
	uint64_t deadline_ms;
	struct list link; /* the engine's gatherings */
	sd_event_source *timer;
};

static void turn(void *arg);

static void may_free(struct gathering *g)
{
	if (!g->told || g->jobs)
		return;
	list_del(&g->link);
	sd_event_source_disable_unref(g->timer);
	for (size_t i = 0; i < g->n; i++) {
		free(g->v[i].image);
		free(g->v[i].tenant);
	}
	free(g->v);
	free(g);
}

/* Tell, once. Jobs that still run free it later. */
static void finish(struct gathering *g, struct prom *prom)
{
	if (!g->told)
		g->done(prom, g->arg);
	g->told = true;
	prom_free(prom);
	may_free(g);
}

void metrics_guests_free(struct engine *e)
{
	list_for_each(&e->gatherings, g, struct gathering, link)
		finish(g, NULL);
}

/* ---- measuring ---- */

static void measured(struct hv_call *call, int rc, const struct error *err)
{
	struct gathering *g = call->arg;
	struct engine *e = g->engine;
	struct sandbox *sb =
		e->stopping ? NULL
			    : sandbox_by_uuid(&e->sandboxes, call->spec.uuid);

	(void)err;
	if (sb && rc == 0) {
		sb->seen_ms = loop_now_ms();
		sb->seen_generation = sb->row.generation;
		sb->seen_cpu_ms = call->cpu_ms;
		sb->seen_memory = call->memory;
	}
	g->jobs--;
	if (g->told || e->stopping)
		finish(g, NULL);
	else
		turn(g);
}

static void measure(struct gathering *g, const struct sandbox *sb)
{
	struct hv_call *call = xcalloc(1, sizeof(*call));

	call->op = HV_STATS;
	call->flag = true;
	snprintf(call->spec.uuid, sizeof(call->spec.uuid), "%s", sb->row.uuid);
	call->done = measured;
	call->arg = g;
	g->jobs++;
	hv_call_start(g->engine, call);
	free(call);
}

static bool is_seen(const struct sandbox *sb)
{
	return sb->seen_ms && sb->seen_generation == sb->row.generation;
}

/* True: through with it, or out of time. */
static bool measure_more(struct gathering *g)
{
	uint64_t now = loop_now_ms();

	if (now >= g->deadline_ms)
		return true;
	while (g->measured < g->n && g->jobs < JOBS_MAX) {
		const struct sandbox *sb = sandbox_find(&g->engine->sandboxes,
							g->v[g->measured++].id);

		if (sb && sb->row.state == SBX_RUNNING && sb->row.uuid[0] &&
		    (!is_seen(sb) || now - sb->seen_ms >= FRESH_MS))
			measure(g, sb);
	}
	return g->jobs == 0 && g->measured == g->n;
}

/* ---- reading ---- */

static void read_one(struct engine *e, struct sample *s)
{
	struct sandbox *sb = sandbox_find(&e->sandboxes, s->id);
	const struct sandbox_row *row;

	if (!sb || sb->row.state == SBX_TERMINATED)
		return;
	row = &sb->row;
	s->there = true;
	s->state = row->state;
	memcpy(s->start_kind, row->start_kind, sizeof(s->start_kind));
	memcpy(s->template_id, row->template_id, sizeof(s->template_id));
	s->image = xstrdup(row->spec->image);
	s->tenant = xstrdup(row->spec->tenant);
	s->cpu = row->spec->resources->cpu;
	s->memory_mib = row->spec->resources->memory_mib;
	s->disk_mib = row->spec->resources->disk_mib;
	s->created = (double)row->created_ms / 1000;
	s->runtime = (double)sandbox_runtime_ms(sb) / 1000;
	s->cost = event_cost(sb);
	s->generation = row->generation;
	s->cpu_seconds = (double)row->cpu_ms / 1000;
	if (row->state == SBX_RUNNING && is_seen(sb)) {
		s->cpu_seconds += (double)sb->seen_cpu_ms / 1000;
		s->memory = sb->seen_memory;
	}
	s->disk = rpc_disk_bytes(e, sb);
	s->network = row->slot >= 0 &&
		     net_traffic(e->net, &sb->slot, &s->net, NULL) == 0;
}

/* ---- telling ---- */

typedef double (*field_fn)(const struct sample *s);

static double get_created(const struct sample *s)
{
	return s->created;
}
static double get_runtime(const struct sample *s)
{
	return s->runtime;
}
static double get_cpu(const struct sample *s)
{
	return s->cpu_seconds;
}
static double get_vcpus(const struct sample *s)
{
	return s->cpu;
}
static double get_memory(const struct sample *s)
{
	return (double)s->memory;
}
static double get_disk(const struct sample *s)
{
	return (double)s->disk;
}
static double get_cost(const struct sample *s)
{
	return s->cost;
}
static double get_generation(const struct sample *s)
{
	return (double)s->generation;
}
static double get_memory_limit(const struct sample *s)
{
	return s->memory_mib * 1048576.0;
}
static double get_disk_limit(const struct sample *s)
{
	return s->disk_mib * 1048576.0;
}
static double get_rx(const struct sample *s)
{
	return (double)s->net.rx_bytes;
}
static double get_tx(const struct sample *s)
{
	return (double)s->net.tx_bytes;
}
static double get_rx_packets(const struct sample *s)
{
	return (double)s->net.rx_packets;
}
static double get_tx_packets(const struct sample *s)
{
	return (double)s->net.tx_packets;
}
static double get_allowed(const struct sample *s)
{
	return (double)s->net.allowed;
}
static double get_denied(const struct sample *s)
{
	return (double)s->net.denied;
}

/* clang-format off */
static const struct field {
	const char *name, *type, *help;
	field_fn get;
	bool network; /* only where there is one */
} fields[] = {
	{ "sandbox_created_time_seconds", "gauge", "When it was created, Unix time.", get_created, false },
	{ "sandbox_runtime_seconds_total", "counter", "Time spent RUNNING, all runs together.", get_runtime, false },
	{ "sandbox_cpu_seconds_total", "counter", "CPU time of its guests.", get_cpu, false },
	{ "sandbox_vcpus", "gauge", "Its vCPUs.", get_vcpus, false },
	{ "sandbox_memory_bytes", "gauge", "Host memory that it alone uses.", get_memory, false },
	{ "sandbox_memory_limit_bytes", "gauge", "Its memory.", get_memory_limit, false },
	{ "sandbox_disk_bytes", "gauge", "Its own layer on the node's disk.", get_disk, false },
	{ "sandbox_disk_limit_bytes", "gauge", "Its disk.", get_disk_limit, false },
	{ "sandbox_generation", "gauge", "Grows with each start of its guest.", get_generation, false },
	{ "sandbox_cost_total", "counter", "What it cost so far, at the node's rates.", get_cost, false },
	{ "sandbox_network_receive_bytes_total", "counter", "Bytes that the present guest received.", get_rx, true },
	{ "sandbox_network_transmit_bytes_total", "counter", "Bytes that it sent.", get_tx, true },
	{ "sandbox_network_receive_packets_total", "counter", "Packets that it received.", get_rx_packets, true },
	{ "sandbox_network_transmit_packets_total", "counter", "Packets that it sent.", get_tx_packets, true },
	{ "sandbox_egress_allowed_total", "counter", "Connections that policy allowed.", get_allowed, true },
	{ "sandbox_egress_denied_total", "counter", "Packets that policy refused.", get_denied, true },
};
/* clang-format on */

static void put_info(const struct gathering *g, struct prom *p)
{
	prom_family(p, "sandbox_info", "gauge", "What it is; always 1.");
	for (size_t i = 0; i < g->n; i++) {
		const struct sample *s = &g->v[i];

		if (s->there)
			prom_add(p, 1,
				 PROM_LABELS({ "sandbox", s->id },
					     { "state",
					       sandbox_state_str(s->state) },
					     { "image", s->image },
					     { "tenant", s->tenant },
					     { "template", s->template_id },
					     { "start", s->start_kind }));
	}
}

static void tell(struct gathering *g)
{
	struct prom *p = prom_new();

	put_info(g, p);
	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		prom_family(p, fields[f].name, fields[f].type, fields[f].help);
		for (size_t i = 0; i < g->n; i++) {
			const struct sample *s = &g->v[i];

			if (s->there && (!fields[f].network || s->network))
				prom_add(p, fields[f].get(s),
					 PROM_LABELS({ "sandbox", s->id }));
		}
	}
	finish(g, p);
}

/* One turn: as much as may be done in it. */
static void turn(void *arg)
{
	struct gathering *g = arg;

	if (g->told || g->engine->stopping)
		return; /* metrics_guests_free() or the last job ends it */
	if (g->read == 0 && !measure_more(g)) {
		/* The next job's end goes on, or time does. */
		loop_timer(g->engine->loop, &g->timer, g->deadline_ms, turn, g);
		return;
	}
	for (size_t i = 0; i < SLICE && g->read < g->n; i++)
		read_one(g->engine, &g->v[g->read++]);
	if (g->read < g->n)
		loop_timer(g->engine->loop, &g->timer, loop_now_ms(), turn, g);
	else
		tell(g);
}

void metrics_guests(struct engine *e, metrics_text_fn done, void *arg)
{
	struct gathering *g = xcalloc(1, sizeof(*g));

	g->engine = e;
	g->done = done;
	g->arg = arg;
	g->deadline_ms = loop_now_ms() + MEASURE_MS;
	g->v = xcalloc(e->sandboxes.n + 1, sizeof(*g->v));
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
	{
		if (sb->row.state == SBX_TERMINATED || g->n == SANDBOXES_MAX)
			continue;
		memcpy(g->v[g->n++].id, sb->row.id, sizeof(sb->row.id));
	}
	list_add_tail(&e->gatherings, &g->link);
	loop_timer(e->loop, &g->timer, loop_now_ms(), turn, g);
}
