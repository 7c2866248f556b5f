/* SPDX-License-Identifier: Apache-2.0 */
/* template_now.h - which template a new sandbox starts from
 *
 * All that would do for the same guests have one identity. It is the id of the
 * first of them; one made beside another that does not verify any more, but is
 * still stood on, has a number after it. At most one is sound.
 */
#ifndef ENGINE_TEMPLATE_NOW_H
#define ENGINE_TEMPLATE_NOW_H

#include "engine/image.h"
#include "engine/templates.h"

void template_identity(struct engine *e, const char *digest, uint32_t cpu,
		       uint32_t memory_mib, uint32_t disk_mib,
		       char ret[OBJECT_ID_SIZE]);

/* The disk of a template for @disk_mib: that of most sandboxes, so that their
 * file system need not grow when they start; for smaller ones the smallest, as
 * it cannot shrink.
 */
uint32_t template_disk(const struct image *image, uint32_t disk_mib);

/* The identity that those who started from @t would start from now. NULL: its
 * image is gone, or it is another node's.
 */
const struct image *template_now(struct engine *e, const struct template *t,
				 char ret[OBJECT_ID_SIZE]);

/* That which verifies as far as is known; it may be being built. Or NULL. */
struct template *template_sound(struct engine *e, const char *identity);

/* An id that nothing stands on or speaks of. */
void template_fresh_id(struct engine *e, const char *identity,
		       char ret[OBJECT_ID_SIZE]);

#endif /* ENGINE_TEMPLATE_NOW_H */
