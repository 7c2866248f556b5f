/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - one control call of a client, from request to answer */
#include "engine/call.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/spec_check.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static void call_free(struct call *call)
{
	list_del(&call->link);
	list_del(&call->wait);
	pb_free(call->request);
	fd_close(&call->fd);
	free(call->joined);
	free(call->answer);
	free(call);
}

/* The text of a string field of any request; "" when it has none. */
static const char *field_of(const ProtobufCMessage *msg, const char *name)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(msg->descriptor,
								name);
	const char *text;

	if (!f || f->type != PROTOBUF_C_TYPE_STRING ||
	    f->label == PROTOBUF_C_LABEL_REPEATED)
		return "";
	text = *(char *const *)((const char *)msg + f->offset);
	return text ? text : "";
}

/* Of a streamed request it is in the message that starts it. */
static const char *request_id_of(const ProtobufCMessage *msg)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(msg->descriptor,
								"start");
	const ProtobufCMessage *start = NULL;

	if (f && f->type == PROTOBUF_C_TYPE_MESSAGE &&
	    (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	    *(const uint32_t *)((const char *)msg + f->quantifier_offset) ==
		    f->id)
		start = *(ProtobufCMessage *const *)((const char *)msg +
						     f->offset);
	return field_of(start ? start : msg, "request_id");
}

struct call *call_new(struct engine *e, uint64_t id, const char *method,
		      const char *identity, ProtobufCMessage *request)
{
	struct call *call = xcalloc(1, sizeof(*call));

	*call = (struct call){ .engine = e, .id = id, .request = request,
			       .fd = -EBADF };
	list_init(&call->wait);
	list_add_tail(&e->calls, &call->link);
	snprintf(call->method, sizeof(call->method), "%s", method);
	snprintf(call->identity, sizeof(call->identity), "%s", identity);
	return call;
}

static void reply(struct call *call, const struct error *err,
		  const uint8_t *data, size_t len, bool more)
{
	struct engine *e = call->engine;

	if (!e->front)
		return;
	if (call->id)
		front_link_reply(e->front, call->id, err, data, len, more);
	for (size_t i = 0; i < call->n_joined; i++)
		front_link_reply(e->front, call->joined[i], err, data, len,
				 more);
}

static void fail_only_this(struct call *call, const struct error *err)
{
	reply(call, err, NULL, 0, false);
	call_free(call);
}

static void digest_of(const char *method, const uint8_t *packed, size_t len,
		      uint8_t ret[REQUEST_DIGEST_LEN])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(ctx, method, strlen(method) + 1) != 1 ||
	    EVP_DigestUpdate(ctx, packed, len) != 1 ||
	    EVP_DigestFinal_ex(ctx, ret, NULL) != 1)
		abort();
	EVP_MD_CTX_free(ctx);
}

static bool refuse_other(struct call *call)
{
	struct error err;

	err_field(&err, "request_id",
		  "'%s' was used for another request", call->request_id);
	fail_only_this(call, &err);
	return true;
}

static bool join(struct call *call, struct call *first)
{
	if (memcmp(call->digest, first->digest, sizeof(call->digest)) != 0)
		return refuse_other(call);
	first->joined = xrealloc(first->joined, first->n_joined + 1,
				 sizeof(*first->joined));
	first->joined[first->n_joined++] = call->id;
	call_free(call);
	return true;
}

bool call_replay(struct call *call, const uint8_t *packed, size_t len)
{
	struct engine *e = call->engine;
	const char *id = request_id_of(call->request);
	_cleanup_free_ uint8_t *answer = NULL;
	struct store_request row;
	struct error err;
	int r;

	if (str_empty(id))
		return false;
	if (!spec_is_request_id(id)) {
		err_field(&err, "request_id",
			  "is not 1-64 characters of [A-Za-z0-9._-]");
		fail_only_this(call, &err);
		return true;
	}
	digest_of(call->method, packed, len, call->digest);
	list_for_each(&e->calls, other, struct call, link)
		if (other != call && !strcmp(other->request_id, id)) {
			snprintf(call->request_id, sizeof(call->request_id),
				 "%s", id);
			return join(call, other);
		}
	snprintf(call->request_id, sizeof(call->request_id), "%s", id);
	r = store_request_get(e->store, id, &row, &err);
	if (r < 0) {
		fail_only_this(call, &err);
		return true;
	}
	if (r == 0)
		return false;
	answer = row.answer;
	if (memcmp(row.digest, call->digest, sizeof(row.digest)) != 0)
		return refuse_other(call);
	if (row.answered) {
		reply(call, NULL, answer, row.answer_len, false);
		call_free(call);
		return true;
	}
	if (!e->recovering) {
		call->again = true;
		return false;
	}
	err_set(&err, ERR_UNAVAILABLE,
		"the node has just started and is still looking at this");
	err.retry_ms = 500;
	fail_only_this(call, &err);
	return true;
}

void call_intent(struct call *call, const char *sandbox_id)
{
	if (!call->request_id[0])
		return;
	call->intent = true;
	store_request_put(call->engine->store, call->request_id, call->method,
			  sandbox_id, call->digest,
			  loop_wall_ms() + REQUEST_KEEP_MS);
}

void call_answer(struct call *call, const ProtobufCMessage *answer)
{
	free(call->answer);
	call->answer = pb_pack(answer, &call->answer_len);
	if (!call->request_id[0])
		return;
	if (!call->intent)
		call_intent(call, field_of(call->request, "sandbox_id"));
	store_request_answer(call->engine->store, call->request_id,
			     call->answer, call->answer_len);
}

void call_send(struct call *call)
{
	reply(call, NULL, call->answer, call->answer_len, false);
	call_free(call);
}

void call_fail(struct call *call, const struct error *err)
{
	struct engine *e = call->engine;
	const struct log_fields fields = {
		.sandbox_id = field_of(call->request, "sandbox_id"),
		.request_id = call->request_id,
		.error_code = err_reason_of(err),
		.message_id = LOG_ID_CALL_FAILED,
	};
	struct error why;

	log_line(err->code == ERR_INTERNAL || err->code == ERR_DATA_LOSS ?
			 LOG_LEVEL_ERR :
			 LOG_LEVEL_INFO,
		 &fields, "%s: %s: %s", call->method, err_reason_of(err),
		 err->msg);
	if (call->intent) {
		store_begin(e->store);
		store_request_remove(e->store, call->request_id);
		if (store_commit(e->store, &why) < 0)
			log_warn("request '%s' is kept: %s", call->request_id,
				 why.msg);
	}
	fail_only_this(call, err);
}

void call_finish(struct call *call, const ProtobufCMessage *answer)
{
	struct engine *e = call->engine;
	struct error err;

	if (!call->request_id[0]) {
		call_answer(call, answer);
		call_send(call);
		return;
	}
	store_begin(e->store);
	call_answer(call, answer);
	if (event_commit(e, &err) < 0)
		call_fail(call, &err);
	else
		call_send(call);
}

void call_finish_done(struct call *call, const ProtobufCMessage *answer)
{
	struct engine *e = call->engine;
	struct error err;

	store_begin(e->store);
	call_answer(call, answer);
	if (event_commit(e, &err) < 0)
		log_warn("%s is done, its answer is not kept: %s",
			 call->method, err.msg);
	call_send(call);
}

void call_progress(struct call *call, const ProtobufCMessage *message)
{
	_cleanup_free_ uint8_t *packed = NULL;
	size_t len;

	packed = pb_pack(message, &len);
	reply(call, NULL, packed, len, true);
}

void calls_orphan(struct engine *e)
{
	list_for_each(&e->calls, call, struct call, link) {
		call->id = 0;
		call->n_joined = 0;
	}
	list_for_each(&e->calls, call, struct call, link)
		call->cancelled = true;
	for (bool again = true; again;) {
		again = false;
		list_for_each(&e->calls, call, struct call, link) {
			void (*fn)(struct call *) = call->on_cancel;

			if (!fn)
				continue;
			/* It may end any call: look from the start again. */
			call->on_cancel = NULL;
			fn(call);
			again = true;
			break;
		}
	}
}

void call_cancel(struct engine *e, uint64_t id)
{
	list_for_each(&e->calls, call, struct call, link) {
		void (*fn)(struct call *) = call->on_cancel;

		if (call->id != id)
			continue;
		/* Others wait for the same answer. */
		if (call->n_joined)
			return;
		call->cancelled = true;
		call->on_cancel = NULL;
		if (fn)
			fn(call);
		return;
	}
}

void calls_free(struct engine *e)
{
	list_for_each(&e->calls, call, struct call, link)
		call_free(call);
}
