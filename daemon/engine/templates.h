/* SPDX-License-Identifier: Apache-2.0 */
/* templates.h - which prepared guests there are, and making them when needed
 *
 * A template's id follows from all that it depends on (image, size, QEMU,
 * kernel and its command line, accelerator, CPU): when any of that changes,
 * another one is needed and made, and the old one stays for those that stand on
 * it. Where pools are kept, the heir of one that was used lately is built before
 * anybody asks, and inherits when it was used.
 *
 * Use has two meanings. used_ms is when last a guest of a sandbox came up from
 * its files, be it created, resumed, forked or restored: when room is needed the
 * one longest unused goes, after those that nothing will start from. asked_ms is
 * when last a create (or BuildTemplate) asked for it: it alone says whether more
 * will, and so whether clones wait on it and an heir is built. A sandbox that
 * is woken every minute needs neither.
 *
 * One whose files turn out altered or gone is never loaded again. They are put
 * aside (template.h), and what stands on it stays as it is; the row goes with
 * the last of that. Its heir is of the same identity (template_now.h) and built
 * like any: in the background where it was asked for lately, but not at once if
 * it was new, and by the next create. The one that found out boots cold.
 *
 * One that came with an imported snapshot has an id that nothing here leads to:
 * what another node put into its memory reaches no sandbox but those of that
 * snapshot. The files are the hypervisor's (template.h).
 */
#ifndef ENGINE_TEMPLATES_H
#define ENGINE_TEMPLATES_H

#include "base/list.h"
#include "engine/store.h"

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define TEMPLATE_FOREIGN "imp_"

struct call;
struct engine;
struct error;
struct image;
struct sandbox;
struct task;

/**
 * struct template - One of them
 * @building:	The task that makes it; NULL: it is ready
 * @ahead:	Being built before anybody asked, for the pool
 * @retry_ms:	Its heir is not built before; monotonic
 * @grown:	How many clones are to wait beyond [pool] min (pool.h)
 * @short_ms:	When last none was to spare; monotonic
 */
struct template {
	struct list link;
	struct template_row row;
	struct task *building;
	struct list wanting; /* who waits for it */
	bool ahead;
	uint64_t retry_ms, short_ms;
	uint32_t grown;
	unsigned int pins; /* imports that may come to stand on it */
	sd_event_source *progress; /* tells who asked for it how far it is */
};

/* "" when it has to boot cold. Called once, perhaps at once. @in_use: It was
 * before this, so that clones may wait.
 */
typedef void (*template_fn)(const char *template_id, bool in_use, void *arg);

/* The template that a new sandbox starts from. */
void templates_need(struct engine *e, struct sandbox *sb, template_fn fn,
		    void *arg);
/* BuildTemplate; the call is taken over on success. */
int templates_build(struct engine *e, const struct image *image, uint32_t cpu,
		    uint32_t memory_mib, struct call *call, struct error *err);
int templates_remove(struct engine *e, const char *id, struct call *call,
		     struct error *err);

struct template *template_find(struct engine *e, const char *id);
/* Sandboxes and snapshots that stand on it. */
uint32_t template_users(struct engine *e, const char *id);
/* What new sandboxes of its image's name and size would start from. */
bool template_is_current(struct engine *e, const struct template *t);
/* Another node's: only what was imported with it starts from it. */
bool template_is_foreign(const struct template *t);
/* Not asked for for [pool] idle. */
bool template_is_idle(struct engine *e, const struct template *t);
/* It was asked for lately and is no longer current: what is has a pool to fill.
 */
bool template_has_heir(struct engine *e, const struct template *t);
/* Within a transaction: a guest came up from it that no create asked for. */
void templates_used(struct engine *e, const char *id);
/* It does not verify: no new clones of it. Told once, also as an event. */
void template_spoiled(struct engine *e, const char *id);
/* What needed the files in @dir failed: that, if they were put aside. @altered:
 * They are, wherever they lie.
 */
void template_doubted(struct engine *e, const char *dir, bool altered);
/* Nothing can start from it. */
bool template_is_lost(struct engine *e, const char *id);

/* Of those whose heir is to be built, the one asked for last; NULL: none. Heirs
 * that are there count as used when the old one was, and that as never.
 */
struct template *templates_without_heir(struct engine *e);
/* While nobody waits for it; pool_built() follows. */
void templates_build_heir(struct engine *e, const struct template *old);
/* What is built for the pool alone is given up. */
void templates_stop_ahead(struct engine *e);

/* From the database, at start. */
void template_restore(struct engine *e, const struct template_row *row);
/* The disk runs full: of those that nobody stands on one goes that no sandbox
 * would start from any more, or else the one longest unused.
 */
void templates_evict(struct engine *e);
/* At start: those whose image is gone. */
void templates_drop_orphans(struct engine *e);
void templates_free(struct engine *e);

#endif /* ENGINE_TEMPLATES_H */
