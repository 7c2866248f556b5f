/* SPDX-License-Identifier: Apache-2.0 */
/* lease.h - calls that need a sandbox to run, and keep it running
 *
 * front acquires a lease before it passes an exec, a file call or a tunnel to
 * an agent, and gives it back after. A paused sandbox is resumed for it, once
 * for however many wait.
 */
#ifndef ENGINE_LEASE_H
#define ENGINE_LEASE_H

#include <stdint.h>

struct engine;
struct error;
struct sandbox;

#define LEASE_WAIT_MS  90000u /* then the caller is told UNAVAILABLE */
#define LEASES_WAIT_MAX 1024u /* of one sandbox */

void lease_acquire(struct engine *e, uint64_t call_id, const char *sandbox_id);
void lease_release(struct engine *e, uint64_t lease);
/* front is gone: so are all leases, and those who waited. */
void leases_void(struct engine *e);

/* The state changed: who waits gets a lease, or is told why not. */
void leases_pump(struct sandbox *sb);
void leases_fail(struct sandbox *sb, const struct error *err);
/* Those that have waited too long. */
void leases_expire(struct engine *e);

#endif /* ENGINE_LEASE_H */
