/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.c - one sandbox, and the node's sandboxes */
#include "engine/sandbox.h"

#include "base/loop.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/ended.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/sandbox_ops.h"
#include "engine/store.h"

#include <string.h>

const char *sandbox_state_str(enum sandbox_state state)
{
	static const char *const names[SBX_STATE_COUNT] = {
		[SBX_NONE] = "NONE",
		[SBX_CREATING] = "CREATING",
		[SBX_RUNNING] = "RUNNING",
		[SBX_PAUSING] = "PAUSING",
		[SBX_PAUSED] = "PAUSED",
		[SBX_RESUMING] = "RESUMING",
		[SBX_TERMINATING] = "TERMINATING",
		[SBX_TERMINATED] = "TERMINATED",
		[SBX_FAILED] = "FAILED",
	};

	return (unsigned int)state < SBX_STATE_COUNT ? names[state] : "?";
}

void sandboxes_init(struct sandboxes *s)
{
	*s = (struct sandboxes){ 0 };
	list_init(&s->all);
	list_init(&s->ended);
	list_init(&s->shown);
}

void sandboxes_fini(struct sandboxes *s)
{
	free(s->live);
	s->live = NULL;
}

uint32_t sandbox_hash(const char *id)
{
	uint32_t hash = 2166136261u;

	for (; *id; id++)
		hash = (hash ^ (unsigned char)*id) * 16777619u;
	return hash & (SANDBOX_BUCKETS - 1);
}

static struct sandbox **bucket(struct sandboxes *s, const char *id)
{
	return &s->by_id[sandbox_hash(id)];
}

struct sandbox *sandbox_new(struct engine *e, const struct sandbox_row *row)
{
	struct sandbox *sb = xcalloc(1, sizeof(*sb));

	*sb = (struct sandbox){ .engine = e, .row = *row };
	list_init(&sb->leases);
	list_init(&sb->waiting);
	list_init(&sb->end_calls);
	if (!sb->row.busy_boot_ms || sb->row.busy_boot_ms > loop_boot_ms())
		sb->row.busy_boot_ms = loop_boot_ms();
	sb->busy_stored = sb->row.busy_boot_ms;
	return sb;
}

void sandbox_free(struct sandbox *sb)
{
	sd_event_source_disable_unref(sb->timer);
	sd_event_source_disable_unref(sb->retry);
	sd_event_source_disable_unref(sb->recovery);
	sd_event_source_disable_unref(sb->answer);
	pb_free(sb->row.spec);
	free(sb);
}

struct sandbox *sandbox_add(struct engine *e, const struct sandbox_row *row)
{
	struct sandbox *sb = sandbox_new(e, row);
	struct sandbox **at = bucket(&e->sandboxes, row->id);

	sb->next_id = *at;
	*at = sb;
	list_add_tail(&e->sandboxes.all, &sb->link);
	e->sandboxes.n++;
	sb->order = e->sandboxes.next_order++;
	sandbox_note(sb);
	return sb;
}

/* Where it is in live, or would be. */
static size_t place(const struct sandboxes *s, uint64_t order)
{
	size_t low = 0, high = s->n_live;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->live[middle].order < order)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void drop_live(struct sandboxes *s, size_t i)
{
	s->n_live--;
	memmove(&s->live[i], &s->live[i + 1],
		(s->n_live - i) * sizeof(*s->live));
}

void sandbox_note(struct sandbox *sb)
{
	struct sandboxes *s = &sb->engine->sandboxes;
	size_t i = place(s, sb->order);
	bool there = i < s->n_live && s->live[i].sb == sb;

	if (sb->row.state == SBX_TERMINATED) {
		if (there)
			drop_live(s, i);
		return;
	}
	if (!there) {
		if (s->n_live == s->room_live) {
			s->room_live = s->room_live ? s->room_live * 2 : 64;
			s->live = xrealloc(s->live, s->room_live,
					   sizeof(*s->live));
		}
		memmove(&s->live[i + 1], &s->live[i],
			(s->n_live - i) * sizeof(*s->live));
		s->n_live++;
	}
	s->live[i] = (struct sandbox_entry){ sb->order, sb, sb->row.state };
}

void sandbox_revert(struct sandbox *sb, const struct sandbox_row *old)
{
	sb->row = *old;
	sandbox_note(sb);
}

void sandbox_remove(struct sandbox *sb)
{
	struct sandboxes *s = &sb->engine->sandboxes;
	struct sandbox **at = bucket(s, sb->row.id);
	size_t i = place(s, sb->order);

	if (i < s->n_live && s->live[i].sb == sb)
		drop_live(s, i);
	while (*at != sb)
		at = &(*at)->next_id;
	*at = sb->next_id;
	list_del(&sb->link);
	s->n--;
	sandbox_free(sb);
}

static struct sandbox *find_in_memory(const struct sandboxes *s,
				      const char *id)
{
	for (struct sandbox *sb = s->by_id[sandbox_hash(id)]; sb;
	     sb = sb->next_id)
		if (!strcmp(sb->row.id, id))
			return sb;
	return NULL;
}

struct sandbox *sandbox_find(struct sandboxes *s, const char *id)
{
	struct sandbox *sb = find_in_memory(s, id);
	const struct ended *ended;

	if (sb)
		return sb;
	ended = ended_find(s, id);
	if (!ended)
		return NULL;
	return ended_show(list_entry(s, struct engine, sandboxes), ended);
}

enum sandbox_state sandbox_state_of(const struct sandboxes *s, const char *id)
{
	const struct sandbox *sb = find_in_memory(s, id);

	if (sb)
		return sb->row.state;
	return ended_find(s, id) ? SBX_TERMINATED : SBX_NONE;
}

struct sandbox *sandbox_by_uuid(struct sandboxes *s, const char *uuid)
{
	list_for_each (&s->all, sb, struct sandbox, link)
		if (!strcmp(sb->row.uuid, uuid))
			return sb;
	return NULL;
}

struct sandbox *sandbox_by_slot(struct sandboxes *s, uint32_t slot)
{
	list_for_each (&s->all, sb, struct sandbox, link)
		if (sb->row.slot == (int64_t)slot)
			return sb;
	return NULL;
}

bool sandbox_holds_guest(const struct sandbox *sb)
{
	switch (sb->row.state) {
	case SBX_CREATING:
	case SBX_RUNNING:
	case SBX_PAUSING:
	case SBX_RESUMING:
		return true;
	case SBX_TERMINATING:
	case SBX_FAILED:
		return sb->row.uuid[0];
	default:
		return false;
	}
}

uint64_t sandbox_age_ms(const struct sandbox *sb)
{
	int64_t age;

	if (!strcmp(sb->row.boot_id, sb->engine->boot_id))
		age = (int64_t)loop_boot_ms() - sb->row.created_boot_ms;
	else
		age = loop_wall_ms() - sb->row.created_ms;
	return age > 0 ? (uint64_t)age : 0;
}

uint64_t sandbox_run_ms(const struct sandbox *sb)
{
	int64_t run = 0;

	if (sb->row.run_ms && sb->row.run_boot_ms)
		run = (int64_t)(loop_boot_ms() - sb->row.run_boot_ms);
	else if (sb->row.run_ms)
		run = loop_wall_ms() - sb->row.run_ms;
	return run > 0 ? (uint64_t)run : 0;
}

uint64_t sandbox_runtime_ms(const struct sandbox *sb)
{
	return sb->row.runtime_ms + sandbox_run_ms(sb);
}

int sandbox_intend(struct sandbox *sb, enum sandbox_event ev,
		   const struct sandbox_row *old, struct call *call,
		   struct error *err)
{
	struct engine *e = sb->engine;

	store_begin(e->store);
	sandbox_move(sb, ev);
	store_sandbox_put(e->store, &sb->row);
	if (call)
		call_intent(call, sb->row.id);
	if (event_commit(e, err) == 0)
		return 0;
	sandbox_revert(sb, old);
	if (call)
		call->intent = false;
	return -1;
}
