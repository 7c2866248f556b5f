/* SPDX-License-Identifier: Apache-2.0 */
/* expose.h - guests' ports: rows, listeners (port.h) and front, in step
 *
 * A port stays through pause, resume and restart; its number on the host too.
 */
#ifndef ENGINE_EXPOSE_H
#define ENGINE_EXPOSE_H

#include "engine/store.h"

#include <stdint.h>

struct call;
struct engine;
struct error;
struct sandbox;

/* On success (0) the call is taken over. A port that is exposed already is
 * answered with what it has.
 */
int expose_port(struct sandbox *sb, uint16_t port, uint32_t wait_ms,
		struct call *call, struct error *err);
int expose_close(struct sandbox *sb, uint16_t port, struct call *call,
		 struct error *err);
/* From the database, at start. */
void expose_restore(struct engine *e, const struct port_row *row);
/* To a front that just started. */
void expose_announce(struct engine *e);
/* The sandbox ends: nobody listens any more. Rows are not touched. */
void expose_end(struct sandbox *sb);

#endif /* ENGINE_EXPOSE_H */
