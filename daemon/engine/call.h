/* SPDX-License-Identifier: Apache-2.0 */
/* call.h - one control call of a client, from front's request to its answer
 *
 * Knows request_id: an answer that was given is given again, a call that is
 * under way is joined. Only successes are kept: a call that failed did nothing,
 * and the same request_id may be tried again.
 */
#ifndef ENGINE_CALL_H
#define ENGINE_CALL_H

#include "base/list.h"
#include "engine/pb.h"
#include "engine/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct error;

#define REQUEST_KEEP_MS (24 * 3600 * 1000ll)

/**
 * struct call - One call
 * @link:	The engine's
 * @wait:	In the list of whoever will answer it
 * @request:	Unpacked and owned; the handler may change it
 * @fd:		Of a stream, else -EBADF
 * @joined:	Calls of the same request_id that get the same answer
 * @cancelled:	The client is gone: only long work cares
 * @intent:	The request's row is in the database
 * @again:	It was there before, without an answer: the same request got as
 *		far as its intent once, perhaps further
 */
struct call {
	struct list link, wait;
	struct engine *engine;
	uint64_t id;
	char method[32];
	char identity[256];
	char request_id[REQUEST_ID_MAX + 1];
	uint8_t digest[REQUEST_DIGEST_LEN];
	ProtobufCMessage *request;
	int fd;
	uint64_t *joined;
	size_t n_joined;
	bool cancelled, intent, again;
	void (*on_cancel)(struct call *call);
	void *cancel_arg;
	uint8_t *answer;
	size_t answer_len;
};

/* @request is consumed. */
struct call *call_new(struct engine *e, uint64_t id, const char *method,
		      const char *identity, ProtobufCMessage *request);

/**
 * call_replay() - Deal with a request_id that was seen before
 * @packed, @len: The request as it came, for the digest
 *
 * Return: true when the call was answered or joined, and is no more
 */
bool call_replay(struct call *call, const uint8_t *packed, size_t len);

/* Within the transaction of the first intent. */
void call_intent(struct call *call, const char *sandbox_id);

/* Within the transaction of the effect: keep the answer. */
void call_answer(struct call *call, const ProtobufCMessage *answer);
/* After its commit: send it. The call is no more. */
void call_send(struct call *call);
/* Nothing was done. The call is no more. */
void call_fail(struct call *call, const struct error *err);

/* All three for what needs no transaction of its own. */
void call_finish(struct call *call, const ProtobufCMessage *answer);
/* The same for what is done and cannot be taken back: a success even when the
 * answer cannot be kept.
 */
void call_finish_done(struct call *call, const ProtobufCMessage *answer);
/* A message of a streamed answer; call_finish() gives the last. */
void call_progress(struct call *call, const ProtobufCMessage *message);

/* front is gone: nobody wants these answers, what they did goes on. */
void calls_orphan(struct engine *e);
void call_cancel(struct engine *e, uint64_t id);
/* Without an answer: the engine ends. */
void calls_free(struct engine *e);

#endif /* ENGINE_CALL_H */
