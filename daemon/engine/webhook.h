/* SPDX-License-Identifier: Apache-2.0 */
/* webhook.h - the engine's end of the socket to sandboxd-webhook
 *
 * That process posts the events to [webhook] url. What it was told of and the
 * receiver took is a number in the database, so every event is delivered at
 * least once, in order, whichever process dies. The engine only answers: a
 * receiver that hangs holds nothing but the cursor. Main thread only.
 */
#ifndef ENGINE_WEBHOOK_H
#define ENGINE_WEBHOOK_H

#include <stdint.h>

struct engine;
struct error;
struct webhook;

#define WEBHOOK_SECRET_MIN 16 /* bytes */
#define WEBHOOK_SECRET_MAX 4096

/* Starts the process; the secret's file is checked here. */
int webhook_new(struct engine *e, struct webhook **ret, struct error *err);
/* Ends it. NULL is fine. */
struct webhook *webhook_free(struct webhook *webhook);

/* There are new events. */
void webhook_grew(struct webhook *webhook);
/* [webhook] changed, or its files did. */
void webhook_reloaded(struct webhook *webhook);

/**
 * struct webhook_stats - Since the daemon started
 * @cursor:	Events up to here were delivered
 * @lost:	Events that fell out of the log before they were delivered
 */
struct webhook_stats {
	uint64_t cursor, delivered, failures, lost;
};

void webhook_stats(const struct webhook *webhook, struct webhook_stats *ret);

#endif /* ENGINE_WEBHOOK_H */
