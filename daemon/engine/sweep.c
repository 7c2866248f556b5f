/* SPDX-License-Identifier: Apache-2.0 */
/* sweep.c - guests and files that nobody knows
 *
 * What is removed must be ours: a guest, or files, below our own state
 * directory and unknown to a database that has been in use. A new database
 * beside old files removes nothing and says so; nor does one with rows that cannot
 * be read, for what they were about looks like nobody's.
 */
#include "engine/sweep.h"

#include "base/log.h"
#include "base/log_id.h"
#include "engine/engine.h"
#include "engine/guest.h"
#include "engine/merge.h"
#include "engine/parcel.h"
#include "engine/pool.h"
#include "engine/task.h"
#include "engine/templates.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

static bool is_known_guest(struct engine *e, const char *uuid)
{
	if (sandbox_by_uuid(&e->sandboxes, uuid) || pool_has(e, uuid) ||
	    merge_has(e, uuid) || (e->testing && !strcmp(e->test_uuid, uuid)))
		return true;
	list_for_each(&e->tasks, t, struct task, link)
		if (!strcmp(t->guest.spec.uuid, uuid) ||
		    (t->old && !strcmp(t->old->spec.uuid, uuid)))
			return true;
	return false;
}

bool sweep_knows(struct engine *e, const char *dir, const char *name)
{
	if (!strcmp(dir, "guests"))
		return is_known_guest(e, name);
	if (parcel_is_known(e, name))
		return true;
	if (!strcmp(dir, "templates"))
		return template_find(e, name) != NULL;
	if (snapshot_find(e, name))
		return true;
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		if (!strcmp(sb->row.next_snapshot, name))
			return true;
	list_for_each(&e->tasks, t, struct task, link)
		if (strstr(t->guest.snapshot_dir, name))
			return true;
	return false;
}

/* Directories of one kind that no row tells of. @kill: their guests first. */
static size_t sweep_dir(struct engine *e, const char *dir, bool remove)
{
	char path[PATH_MAX];
	struct dirent *entry;
	size_t n = 0;
	DIR *d;

	engine_path(e, dir, "", path, sizeof(path));
	d = opendir(path);
	if (!d)
		return 0;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.' ||
		    strlen(entry->d_name) >= OBJECT_ID_SIZE ||
		    sweep_knows(e, dir, entry->d_name))
			continue;
		n++;
		if (!remove)
			continue;
		log_info("%s/%s: nobody's, is removed", dir, entry->d_name);
		if (!strcmp(dir, "guests") &&
		    strlen(entry->d_name) == HV_UUID_SIZE - 1)
			guest_discard(e, entry->d_name, -1);
		else
			engine_trash(e, dir, entry->d_name);
	}
	closedir(d);
	return n;
}

void sweep_unknown(struct engine *e)
{
	static const char *const dirs[] = { "guests", "snapshots",
					    "templates" };
	size_t n = 0;

	if (e->swept || e->recovering)
		return;
	e->swept = true;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		n += sweep_dir(e, dirs[i], !e->fresh && !e->damaged);
	if (n && e->damaged)
		log_warn("%zu guests, snapshots or templates are nobody's, or "
			 "of rows that cannot be read: none is removed", n);
	e->foreign = e->fresh && n;
	if (e->foreign)
		log_id(LOG_LEVEL_WARN, LOG_ID_FOREIGN, "the database is new, but %zu guests, snapshots or "
			 "templates are beside it: none is removed", n);
}
