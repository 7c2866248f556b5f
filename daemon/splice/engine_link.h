/* SPDX-License-Identifier: Apache-2.0 */
/* engine_link.h - the splice's end of its socket to the engine */
#ifndef SPLICE_ENGINE_LINK_H
#define SPLICE_ENGINE_LINK_H

struct error;
struct loop;
struct engine_link;

/* Consumes @fd. The listener comes with the engine's setup. When the engine is
 * gone no connection is begun any more, and the loop is stopped when the last
 * one has ended.
 */
int engine_link_new(struct loop *loop, int fd, struct engine_link **ret,
		    struct error *err);
struct engine_link *engine_link_free(struct engine_link *link);

#endif /* SPLICE_ENGINE_LINK_H */
