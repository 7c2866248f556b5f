/* SPDX-License-Identifier: Apache-2.0 */
/* ended.c - sandboxes that have ended */
#include "engine/ended.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/store.h"

#include <string.h>

static struct ended **bucket(const struct sandboxes *s, const char *id)
{
	return (struct ended **)&s->ended_by_id[sandbox_hash(id)];
}

static char *put(char *at, const char *text)
{
	return stpcpy(at, text) + 1;
}

static struct ended *new_ended(const struct sandbox_row *row)
{
	const Spec *spec = row->spec;
	size_t size = strlen(row->id) + strlen(spec->image) +
		      strlen(spec->tenant) + 3;
	struct ended *ended;
	char *at;

	for (size_t i = 0; i < spec->n_metadata; i++)
		size += strlen(spec->metadata[i]->key) +
			strlen(spec->metadata[i]->value) + 2;
	ended = xcalloc(1, sizeof(*ended) + size);
	ended->image = at = put(ended->id, row->id);
	ended->tenant = at = put(at, spec->image);
	ended->metadata = at = put(at, spec->tenant);
	for (size_t i = 0; i < spec->n_metadata; i++) {
		at = put(at, spec->metadata[i]->key);
		at = put(at, spec->metadata[i]->value);
	}
	ended->end = at;
	return ended;
}

void ended_add(struct sandboxes *s, uint64_t order,
	       const struct sandbox_row *row)
{
	struct ended *ended = new_ended(row);
	struct ended **at = bucket(s, row->id);
	struct list *before = &s->ended;

	ended->order = order;
	ended->terminated_ms = row->terminated_ms;
	ended->next_id = *at;
	*at = ended;
	/* Most end in the order in which they began. */
	while (before->prev != &s->ended &&
	       list_entry(before->prev, struct ended, link)->order > order)
		before = before->prev;
	list_add_tail(before, &ended->link);
	s->n_ended++;
}

void ended_remove(struct sandboxes *s, struct ended *ended)
{
	struct ended **at = bucket(s, ended->id);

	while (*at != ended)
		at = &(*at)->next_id;
	*at = ended->next_id;
	list_del(&ended->link);
	s->n_ended--;
	free(ended);
}

struct ended *ended_find(const struct sandboxes *s, const char *id)
{
	for (struct ended *ended = *bucket(s, id); ended;
	     ended = ended->next_id)
		if (!strcmp(ended->id, id))
			return ended;
	return NULL;
}

const char *ended_metadata(const struct ended *ended, const char *key)
{
	const char *at = ended->metadata;

	while (at < ended->end) {
		const char *value = at + strlen(at) + 1;

		if (!strcmp(at, key))
			return value;
		at = value + strlen(value) + 1;
	}
	return NULL;
}

static void hide_all(struct sandboxes *s)
{
	list_for_each (&s->shown, sb, struct sandbox, link) {
		list_del(&sb->link);
		sandbox_free(sb);
	}
}

static void turn_ends(void *arg)
{
	struct engine *e = arg;

	if (!e->stopping)
		hide_all(&e->sandboxes);
}

struct sandbox *ended_show(struct engine *e, const struct ended *ended)
{
	struct sandboxes *s = &e->sandboxes;
	struct sandbox *sb;
	struct sandbox_row row;
	struct error err;

	if (store_sandbox_get(e->store, ended->id, &row, &err) < 0) {
		log_err("sandbox '%s': has ended, and %s", ended->id, err.msg);
		return NULL;
	}
	sb = sandbox_new(e, &row);
	sb->order = ended->order;
	if (list_empty(&s->shown))
		loop_timer(e->loop, &s->hide, loop_now_ms(), turn_ends, e);
	list_add_tail(&s->shown, &sb->link);
	return sb;
}

/* Recovery asks about sandboxes by their address. */
static bool is_through(const struct sandbox *sb)
{
	return sb->row.state == SBX_TERMINATED && !sb->task &&
	       !sb->engine->recovering && list_empty(&sb->leases) &&
	       list_empty(&sb->waiting) && list_empty(&sb->end_calls);
}

void ended_retire(struct engine *e)
{
	list_for_each (&e->sandboxes.all, sb, struct sandbox, link) {
		if (!is_through(sb))
			continue;
		ended_add(&e->sandboxes, sb->order, &sb->row);
		sandbox_remove(sb);
	}
}

void ended_free(struct engine *e)
{
	struct sandboxes *s = &e->sandboxes;

	hide_all(s);
	s->hide = sd_event_source_disable_unref(s->hide);
	list_for_each (&s->ended, ended, struct ended, link)
		ended_remove(s, ended);
}
