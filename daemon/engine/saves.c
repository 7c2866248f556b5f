/* SPDX-License-Identifier: Apache-2.0 */
/* saves.c - the snapshots of this node, as rows and who uses them */
#include "engine/saves.h"

#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/merge.h"
#include "engine/spec_check.h"

#include <stdio.h>
#include <string.h>

/* Those removed but in use are there too. */
static struct snapshot **bucket(struct engine *e, const char *id)
{
	return &e->snapshots_by_id[sandbox_hash(id)];
}

struct snapshot *snapshot_add(struct engine *e, const struct snapshot_row *row)
{
	struct snapshot *s = xcalloc(1, sizeof(*s));

	s->row = *row;
	s->next_id = *bucket(e, row->id);
	*bucket(e, row->id) = s;
	list_add_tail(&e->snapshots, &s->link);
	return s;
}

static void snapshot_free(struct engine *e, struct snapshot *s)
{
	struct snapshot **at = bucket(e, s->row.id);

	while (*at != s)
		at = &(*at)->next_id;
	*at = s->next_id;
	list_del(&s->link);
	pb_free(s->row.spec);
	free(s);
}

struct snapshot *snapshot_find(struct engine *e, const char *id)
{
	for (struct snapshot *s = *bucket(e, id); s; s = s->next_id)
		if (!s->removed && !strcmp(s->row.id, id))
			return s;
	return NULL;
}

int snapshot_get(struct engine *e, const char *id_or_name,
		 struct snapshot **ret, struct error *err)
{
	struct snapshot *found = NULL;
	bool many = false;

	list_for_each(&e->snapshots, s, struct snapshot, link) {
		if (s->removed || s->row.internal)
			continue;
		if (!strcmp(s->row.id, id_or_name)) {
			*ret = s;
			return 0;
		}
		if (s->row.name[0] && !strcmp(s->row.name, id_or_name)) {
			many = found != NULL;
			found = s;
		}
	}
	if (many)
		return err_field(err, "snapshot_id",
				 "'%.64s' names more than one snapshot",
				 id_or_name);
	if (!found) {
		err_set(err, ERR_NOT_FOUND, "there is no snapshot '%.64s'",
			id_or_name);
		return err_reason(err, "SNAPSHOT_NOT_FOUND", id_or_name);
	}
	*ret = found;
	return 0;
}

int snapshot_get_of(struct engine *e, const char *sandbox_id,
		    const char *id_or_name, struct snapshot **ret,
		    struct error *err)
{
	if (id_or_name[0])
		list_for_each(&e->snapshots, s, struct snapshot, link)
			if (!s->removed && !s->row.internal &&
			    !strcmp(s->row.sandbox_id, sandbox_id) &&
			    !strcmp(s->row.name, id_or_name)) {
				*ret = s;
				return 0;
			}
	return snapshot_get(e, id_or_name, ret, err);
}

int snapshot_check(const struct snapshot *s, struct error *err)
{
	if (!s->row.damaged)
		return 0;
	return err_set(err, ERR_DATA_LOSS,
		       "snapshot '%s': its row in the state database cannot be "
		       "read: it can only be removed",
		       s->row.id);
}

bool snapshot_name_taken(struct engine *e, const char *sandbox_id,
			 const char *name)
{
	if (!name[0])
		return false;
	list_for_each(&e->snapshots, s, struct snapshot, link)
		if (!s->removed && !strcmp(s->row.sandbox_id, sandbox_id) &&
		    !strcmp(s->row.name, name))
			return true;
	return false;
}

void snapshot_use(struct engine *e, struct snapshot *snapshot)
{
	snapshot->users++;
	merge_stop(e, snapshot);
}

void snapshot_unuse(struct engine *e, struct snapshot *s)
{
	if (--s->users || !s->removed)
		return;
	engine_trash(e, "snapshots", s->row.id);
	snapshot_free(e, s);
}

void snapshot_drop(struct engine *e, struct snapshot *s)
{
	if (!s || s->removed)
		return;
	s->removed = true;
	merge_stop(e, s);
	s->users++;
	snapshot_unuse(e, s);
}

void snapshots_free(struct engine *e)
{
	list_for_each(&e->snapshots, s, struct snapshot, link)
		snapshot_free(e, s);
}

void snapshot_row_of(const struct sandbox *sb, const char *id,
		     struct snapshot_row *ret)
{
	*ret = (struct snapshot_row){ .created_ms = loop_wall_ms(),
				      .spec = spec_copy(sb->row.spec) };
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	snprintf(ret->sandbox_id, sizeof(ret->sandbox_id), "%s", sb->row.id);
	snprintf(ret->image_digest, sizeof(ret->image_digest), "%s",
		 sb->row.image_digest);
	snprintf(ret->template_id, sizeof(ret->template_id), "%s",
		 sb->row.template_id);
	memcpy(ret->nonce, sb->row.nonce, sizeof(ret->nonce));
}
