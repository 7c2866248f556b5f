/* SPDX-License-Identifier: Apache-2.0 */
/* engine_link.h - the resolver's end of its socket to the engine */
#ifndef RESOLVER_ENGINE_LINK_H
#define RESOLVER_ENGINE_LINK_H

struct error;
struct loop;
struct engine_link;

/* Consumes @fd. Everything else comes with the engine's setup; when the engine
 * is gone the loop is stopped.
 */
int engine_link_new(struct loop *loop, int fd, struct engine_link **ret,
		    struct error *err);
struct engine_link *engine_link_free(struct engine_link *link);

#endif /* RESOLVER_ENGINE_LINK_H */
