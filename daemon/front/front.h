/* SPDX-License-Identifier: Apache-2.0 */
/* front.h - the front process: what its modules share
 *
 * Front parses all that clients and guests send, holds no power and no state
 * that matters. Clients' calls come in by listener.c and api.c; agents'
 * connections are agent_link.c's; the engine is told and asked through
 * engine_link.c. One thread.
 */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include "base/list.h"
#include "base/measure.h"
#include "front/engine_link.h"
#include "grpc.h"

#include <stdbool.h>
#include <stdint.h>
#include <openssl/types.h>
#include <sys/types.h>

struct error;
struct health;
struct loop;

#define IDENTITY_MAX	   256
#define SANDBOX_ID_MAX	   64 /* with its NUL */
#define IDENTITIES_MAX	   256
#define UIDS_MAX	   64
#define CONNECTIONS_MAX	   1024 /* default of connections_max */
#define ENGINE_WAITING_MAX 8192 /* requests that wait for the engine */

struct front {
	struct loop *loop;
	struct engine_link *engine;
	void (*gone)(struct front *front, const char *why);

	/* Setup */
	SSL_CTX *tls;
	char **identities;
	size_t n_identities;
	uid_t uids[UIDS_MAX];
	size_t n_uids;
	bool reflection;
	uint32_t streams_max;
	uint32_t connections_max;
	char version[64];

	struct list listeners;
	void (*client_gone)(struct front *front); /* a connection ended */
	struct list clients;
	unsigned int n_clients;
	struct list links;    /* agent_link.c */
	struct list ports;    /* ports.c */
	struct list watchers; /* events.c */
	uint64_t newest_event;
	struct measures methods; /* counts.c */
	unsigned int n_calls;
	uint64_t stray_ms; /* exits.c: tokens, and when they were counted */
	unsigned int strays;

	bool draining;
	uint64_t drain_id;
	struct health *health;
};

/**
 * front_new() - Serve what the engine at the other end of @ipc_fd hands over
 * @ipc_fd:	Consumed
 * @gone:	The engine is gone: end. Not called from front_free()
 */
int front_new(struct loop *loop, int ipc_fd,
	      void (*gone)(struct front *front, const char *why),
	      struct front **ret, struct error *err);
struct front *front_free(struct front *front);

#endif /* FRONT_FRONT_H */
