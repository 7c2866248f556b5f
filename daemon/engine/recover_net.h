/* SPDX-License-Identifier: Apache-2.0 */
/* recover_net.h - at start: the network of guests that may still run
 *
 * Between net_gather() and net_sweep(), which takes away what was not kept. Part of
 * recover_begin().
 */
#ifndef ENGINE_RECOVER_NET_H
#define ENGINE_RECOVER_NET_H

struct engine;
struct pool_row;

/* Rules and taps of all sandboxes whose guests may run. */
void recover_net_keep(struct engine *e);
/* Those of a clone that waits; its slot is taken, if it is free. */
void recover_net_keep_clone(struct engine *e, const struct pool_row *row);

#endif /* ENGINE_RECOVER_NET_H */
