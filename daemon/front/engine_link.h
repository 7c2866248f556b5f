/* SPDX-License-Identifier: Apache-2.0 */
/* engine_link.h - front's end of the socket to the engine
 *
 * Requests to the engine get ids; their answers come by callback, each at least
 * once and with `more` false last. When the socket fails, everything that waits
 * is answered with UNAVAILABLE, then `closed` comes.
 */
#ifndef FRONT_ENGINE_LINK_H
#define FRONT_ENGINE_LINK_H

#include "front/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine_link;
struct error;
struct loop;

/* @st is GRPC_OK on success, and @data the packed answer, borrowed. Never from
 * within the function that asked.
 */
typedef void (*engine_answer_fn)(const struct grpc_status *st,
				 const uint8_t *data, size_t len, bool more,
				 void *arg);

/**
 * struct engine_link_ops - What the engine says
 * @message:	Any message but a Reply.  @fds as in struct ipc_ops.  Answer with
 *		engine_reply() where there is an id
 * @closed:	The engine is gone
 */
struct engine_link_ops {
	void (*message)(const Sandbox__Ipc__V1__EngineMessage *m, int *fds,
			size_t n_fds, void *arg);
	void (*closed)(const char *why, void *arg);
};

/* Consumes @fd. */
int engine_link_new(struct loop *loop, int fd,
		    const struct engine_link_ops *ops, void *arg,
		    struct engine_link **ret, struct error *err);

/* Answers what waits with UNAVAILABLE. */
struct engine_link *engine_link_free(struct engine_link *link);

/* How many requests wait for their answers. */
unsigned int engine_waiting(const struct engine_link *link);

/* Ask. @fd: descriptor that goes along (borrowed), -EBADF for none. */
uint64_t engine_call(struct engine_link *link, const char *method,
		     const char *identity, const uint8_t *request, size_t len,
		     int fd, engine_answer_fn answer, void *arg);
uint64_t engine_acquire(struct engine_link *link, const char *sandbox_id,
			const char *identity, engine_answer_fn answer,
			void *arg);
uint64_t engine_read_events(struct engine_link *link,
			    Sandbox__Ipc__V1__ReadEvents *read,
			    engine_answer_fn answer, void *arg);

/* Tell. */
void engine_cancel(struct engine_link *link, uint64_t call_id);
void engine_release(struct engine_link *link, uint64_t lease);
void engine_activity(struct engine_link *link, const char *sandbox_id);
void engine_link_lost(struct engine_link *link, const char *key,
		      uint64_t generation, const char *why, bool broken);
void engine_agent_silent(struct engine_link *link, const char *key,
			 uint64_t generation, bool silent);

struct engine_pair {
	const char *key;
	const char *value;
};

#define ENGINE_EVENT_PAIRS_MAX 8

void engine_event(struct engine_link *link, const char *sandbox_id,
		  const char *type, const struct engine_pair *data, size_t n);

/* Answer; an @id of 0 wants none. */
void engine_reply(struct engine_link *link, uint64_t id,
		  const struct grpc_status *st, const uint8_t *data,
		  size_t len);

#endif /* FRONT_ENGINE_LINK_H */
