/* SPDX-License-Identifier: Apache-2.0 */
/* damaged.c - at start: rows that cannot be read */
#include "engine/damaged.h"

#include "base/error.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/saves.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAMAGED_TOLD_MAX 100

static void tell_damaged(const struct store_damaged *d, void *arg)
{
	struct engine *e = arg;
	bool sandbox = !strcmp(d->table, "sandboxes");
	const struct log_fields fields = { .sandbox_id =
						   sandbox ? d->key : NULL,
					   .error_code = STATE_UNREADABLE };
	char text[200];

	/* A clone that waits is nobody's, and a port is only closed. */
	if (strcmp(d->table, "pool") != 0 && strcmp(d->table, "ports") != 0)
		e->damaged++;
	if (++e->damaged_told > DAMAGED_TOLD_MAX)
		return;
	snprintf(text, sizeof(text),
		 "row '%s' of %s in the state database cannot be read", d->key,
		 d->table);
	log_line(LOG_LEVEL_ERR, &fields, "%s", text);
	event_add(
		e, sandbox && d->named ? "sandbox.error" : "node.error",
		sandbox && d->named ? d->key : "",
		EVENT_DATA({ "code", STATE_UNREADABLE }, { "message", text }));
}

int damaged_tell(struct engine *e, struct error *err)
{
	if (!store_saw_damage(e->store))
		return 0;
	store_begin(e->store);
	if (store_damaged(e->store, tell_damaged, e, err) < 0) {
		store_rollback(e->store);
		return -1;
	}
	return event_commit(e, err);
}

/* All that a snapshot of a paused sandbox's row says its sandbox's does too. */
void damaged_mend(struct engine *e)
{
	struct error err;

	list_for_each (&e->sandboxes.all, sb, struct sandbox, link) {
		struct snapshot *s = snapshot_find(e, sb->row.snapshot_id);
		struct snapshot_row row;
		char path[PATH_MAX];

		if (sb->row.state != SBX_PAUSED || !sb->row.snapshot_id[0] ||
		    (s && !s->row.damaged))
			continue;
		engine_path(e, "snapshots", sb->row.snapshot_id, path,
			    sizeof(path));
		if (access(path, F_OK) < 0)
			continue;
		snapshot_row_of(sb, sb->row.snapshot_id, &row);
		row.internal = true;
		if (s)
			row.size_bytes = s->row.size_bytes;
		store_begin(e->store);
		store_snapshot_put(e->store, &row);
		if (store_commit(e->store, &err) < 0) {
			log_err("snapshot '%s': %s", row.id, err.msg);
			pb_free(row.spec);
			continue;
		}
		log_warn("snapshot '%s': its row is made again from sandbox "
			 "'%s', which is paused to it",
			 row.id, sb->row.id);
		if (s) {
			pb_free(s->row.spec);
			s->row = row;
		} else {
			snapshot_add(e, &row);
		}
	}
}
