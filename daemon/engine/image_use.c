/* SPDX-License-Identifier: Apache-2.0 */
/* image_use.c - who stands on an image, and what goes when nobody does */
#include "engine/image_use.h"

#include "engine/engine.h"
#include "engine/saves.h"
#include "engine/task.h"
#include "engine/templates.h"

#include <string.h>

bool image_is_used(const char *digest, void *arg)
{
	struct engine *e = arg;

	list_for_each(
		&e->sandboxes.all, sb, struct sandbox,
		link) if (sb->row.state != SBX_TERMINATED &&
			  !strcmp(sb->row.image_digest, digest)) return true;
	list_for_each(
		&e->snapshots, s, struct snapshot,
		link) if (!strcmp(s->row.image_digest, digest)) return true;
	return false;
}

void image_drop_templates(struct engine *e, const char *digest)
{
	list_for_each(&e->templates, t, struct template,
		      link) if (!strcmp(t->row.image_digest, digest) &&
				!t->building)
		templates_remove(e, t->row.id, NULL, NULL);
}

/* Of a replaced image nothing may be left, also none of its guests that are
 * still ending.
 */
static bool is_needed(const char *digest, void *arg)
{
	struct engine *e = arg;

	if (image_is_used(digest, e))
		return true;
	list_for_each(
		&e->templates, t, struct template,
		link) if (!strcmp(t->row.image_digest, digest)) return true;
	list_for_each(&e->tasks, t, struct task,
		      link) if (!strcmp(t->guest.spec.image_digest,
					digest)) return true;
	return false;
}

/* By its digest it is there, and by its name there is another. */
static bool is_replaced(struct engine *e, const char *digest)
{
	const struct image *image = image_by_digest(e->images, digest);

	return image && image_by_name(e->images, image->name) != image;
}

void images_tidy(struct engine *e)
{
	if (e->damaged)
		return;
	list_for_each(&e->templates, t, struct template,
		      link) if (!t->building && !template_users(e, t->row.id) &&
				(template_is_foreign(t) ||
				 ((t->row.bad ||
				   is_replaced(e, t->row.image_digest)) &&
				  !template_has_heir(e, t))))
		templates_remove(e, t->row.id, NULL, NULL);
	image_sweep(e->images, is_needed, e);
}
