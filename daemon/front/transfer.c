/* SPDX-License-Identifier: Apache-2.0 */
/* transfer.c - streams of data to and from the engine, through a pipe
 *
 * Theory of operation
 * ===================
 *
 * The Call goes to the engine with one end of a pipe; front keeps the other,
 * non-blocking. One message of the client (import) is held while the pipe is
 * full and the client's call paused meanwhile; one buffer is read from the pipe
 * (export) only while the client takes more. So memory is bounded either way.
 *
 * An import whose client goes away must not look complete: Cancel is sent while
 * the pipe is still open, and the pipe is closed when the engine has answered,
 * or after CANCEL_GRACE_MS.
 *
 * A transfer lives until both the client's call and the engine's answer are
 * done. An export is complete when the engine said so and the pipe is empty.
 */
#include "front/transfer.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "front/client.h"
#include "front/check.h"
#include "front/wire.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <fcntl.h>
#include <string.h>

#define CHUNK		(256u << 10)
#define CANCEL_GRACE_MS 30000

struct transfer {
	struct front *front;
	struct client *client; /* valid while @call is */
	struct grpc_call *call;
	const char *method;
	int fd; /* our end of the pipe */
	sd_event_source *io;
	sd_event_source *grace;
	uint64_t id;
	bool image;   /* an import: of an image, else of a snapshot */
	bool asked;   /* the Call was sent */
	bool waiting; /* its answer is to come */
	bool half;    /* import: the client sent all */
	bool done;    /* export: the engine said OK */
	bool finished;
	uint8_t *held; /* import: what the pipe did not take yet */
	size_t held_len, held_at;
};

static void close_pipe(struct transfer *t)
{
	t->io = sd_event_source_disable_unref(t->io);
	fd_close(&t->fd);
}

static void may_free(struct transfer *t)
{
	if (t->call || t->waiting)
		return;
	close_pipe(t);
	sd_event_source_disable_unref(t->grace);
	free(t->held);
	free(t);
}

static void finish(struct transfer *t, const struct grpc_status *st)
{
	if (t->call && !t->finished)
		grpc_call_finish(t->call, st);
	t->finished = true;
}

static void refuse(struct transfer *t, const struct error *err)
{
	struct grpc_status st;

	status_of_error(&st, err);
	finish(t, &st);
}

static void on_grace(void *arg)
{
	close_pipe(arg);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct transfer *t = arg;

	(void)call;
	(void)st;
	t->call = NULL;
	if (t->waiting) {
		engine_cancel(t->front->engine, t->id);
		t->io = sd_event_source_disable_unref(t->io);
		loop_timer(t->front->loop, &t->grace,
			   loop_now_ms() + CANCEL_GRACE_MS, on_grace, t);
	}
	may_free(t);
}

static int open_pipe(struct transfer *t, bool we_write, int *ret_theirs,
		     struct error *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	t->fd = fds[we_write];
	*ret_theirs = fds[!we_write];
	/* Ours alone: the engine may want to block on its end. */
	if (fcntl(t->fd, F_SETFL, O_NONBLOCK | (we_write ? O_WRONLY : 0)) < 0)
		return err_sys(err, errno, "make a pipe");
	return 0;
}

/* ---- import ---- */

static void on_import_answer(const struct grpc_status *st, const uint8_t *data,
			     size_t len, bool more, void *arg)
{
	struct transfer *t = arg;

	t->waiting = more;
	if (t->call && !t->finished && st->code == GRPC_OK &&
	    (!more || grpc_call_queued(t->call) < GRPC_SEND_HIGH_WATER))
		grpc_call_send(t->call, data, len);
	if (!more) {
		finish(t, st);
		close_pipe(t);
	}
	may_free(t);
}

/* Write what is held; once it is gone let the client send on. */
static void pump_in(struct transfer *t)
{
	while (t->held) {
		ssize_t n = write(t->fd, t->held + t->held_at,
				  t->held_len - t->held_at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			sd_event_source_set_enabled(t->io, SD_EVENT_ON);
			return;
		}
		if (n < 0) {
			/* The engine stopped reading: its answer says why. */
			close_pipe(t);
			free(TAKE_PTR(t->held));
			break;
		}
		t->held_at += (size_t)n;
		if (t->held_at == t->held_len)
			free(TAKE_PTR(t->held));
	}
	if (t->io)
		sd_event_source_set_enabled(t->io, SD_EVENT_OFF);
	if (t->half)
		close_pipe(t);
	else if (t->call)
		grpc_call_pause(t->call, false);
}

static int on_pipe_writable(sd_event_source *s, int fd, uint32_t revents,
			    void *arg)
{
	(void)s;
	(void)fd;
	(void)revents;
	pump_in(arg);
	return 0;
}

static int begin_import(struct transfer *t, const uint8_t *request, size_t len,
			struct error *err)
{
	_cleanup_close_ int theirs = -EBADF;
	int r;

	if (open_pipe(t, true, &theirs, err) < 0)
		return -1;
	r = sd_event_add_io(loop_event(t->front->loop), &t->io, t->fd, EPOLLOUT,
			    on_pipe_writable, t);
	if (r < 0)
		return err_sys(err, -r, "watch a pipe");
	sd_event_source_set_enabled(t->io, SD_EVENT_OFF);
	t->asked = t->waiting = true;
	t->id = engine_call(t->front->engine, t->method, t->client->identity,
			    request, len, theirs, on_import_answer, t);
	return 0;
}

static void hold(struct transfer *t, const ProtobufCBinaryData *data)
{
	if (data->len == 0 || t->fd < 0)
		return;
	t->held = xmemdup(data->data, data->len);
	t->held_len = data->len;
	t->held_at = 0;
	grpc_call_pause(t->call, true);
	pump_in(t);
}

static int image_message(struct transfer *t, const uint8_t *data, size_t len,
			 struct error *err)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	_cleanup_free_ uint8_t *buf = NULL;
	Sandbox__Node__V1__ImportImageRequest *r;
	bool start;
	size_t n;

	if (wire_unpack(&sandbox__node__v1__import_image_request__descriptor,
			data, len, &m, err) < 0)
		return -1;
	r = (void *)m;
	start = r->input_case ==
		SANDBOX__NODE__V1__IMPORT_IMAGE_REQUEST__INPUT_START;
	if (start == t->asked)
		return err_field(err, "start", "start: must come first, once");
	if (start) {
		buf = wire_pack(m, &n);
		return begin_import(t, buf, n, err);
	}
	if (r->input_case != SANDBOX__NODE__V1__IMPORT_IMAGE_REQUEST__INPUT_DATA)
		return err_field(err, "data", "data: must follow start");
	if (check_bytes(&r->data, CHECK_DATA_MAX, false, "data", err) < 0)
		return -1;
	hold(t, &r->data);
	return 0;
}

static int snapshot_message(struct transfer *t, const uint8_t *data, size_t len,
			    struct error *err)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	Sandbox__Node__V1__ImportSnapshotRequest *r;

	if (wire_unpack(&sandbox__node__v1__import_snapshot_request__descriptor,
			data, len, &m, err) < 0)
		return -1;
	r = (void *)m;
	if (check_bytes(&r->data, CHECK_DATA_MAX, false, "data", err) < 0)
		return -1;
	if (!t->asked && begin_import(t, NULL, 0, err) < 0)
		return -1;
	hold(t, &r->data);
	return 0;
}

static void on_import_message(struct grpc_call *call, const uint8_t *data,
			      size_t len, void *arg)
{
	struct transfer *t = arg;
	struct error err = { 0 };

	(void)call;
	if (t->finished)
		return;
	if ((t->image ? image_message : snapshot_message)(t, data, len, &err) <
	    0)
		refuse(t, &err);
}

static void on_import_half_close(struct grpc_call *call, void *arg)
{
	struct transfer *t = arg;
	struct error err = { 0 };

	(void)call;
	/* A refused stream must not come to an orderly end. */
	if (t->finished)
		return;
	t->half = true;
	if (!t->asked) {
		err_set(&err, ERR_INVALID, "the stream ended without data");
		refuse(t, &err);
	} else if (!t->held) {
		close_pipe(t);
	}
}

static const struct grpc_call_ops import_ops = {
	.message = on_import_message,
	.half_close = on_import_half_close,
	.done = on_done
};

static void import(struct client *client, struct grpc_call *call, bool image)
{
	struct transfer *t = xcalloc(1, sizeof(*t));

	*t = (struct transfer){ .front = client->front,
				.client = client,
				.call = call,
				.method = image ? "ImportImage" :
						  "ImportSnapshot",
				.fd = -EBADF,
				.image = image };
	grpc_call_accept(call, &import_ops, t);
}

void transfer_import_image(struct client *client, struct grpc_call *call)
{
	import(client, call, true);
}

void transfer_import_snapshot(struct client *client, struct grpc_call *call)
{
	import(client, call, false);
}

/* ---- export ---- */

static void export_over(struct transfer *t)
{
	struct grpc_status ok = { .code = GRPC_OK };

	if (t->done && t->fd < 0)
		finish(t, &ok);
}

static void on_export_answer(const struct grpc_status *st, const uint8_t *data,
			     size_t len, bool more, void *arg)
{
	struct transfer *t = arg;

	(void)data;
	(void)len;
	t->waiting = more;
	if (!more && st->code == GRPC_OK)
		t->done = true;
	else if (!more)
		finish(t, st);
	export_over(t);
	may_free(t);
}

static void send_chunk(struct transfer *t, uint8_t *buf, size_t len)
{
	Sandbox__Node__V1__ExportSnapshotResponse m =
		SANDBOX__NODE__V1__EXPORT_SNAPSHOT_RESPONSE__INIT;
	_cleanup_free_ uint8_t *packed = NULL;
	size_t n;

	m.data = (ProtobufCBinaryData){ len, buf };
	packed = wire_pack(&m.base, &n);
	if (grpc_call_send(t->call, packed, n) == 1)
		sd_event_source_set_enabled(t->io, SD_EVENT_OFF);
}

static int on_pipe_readable(sd_event_source *s, int fd, uint32_t revents,
			    void *arg)
{
	static uint8_t buf[CHUNK];
	struct transfer *t = arg;
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)s;
	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		close_pipe(t);
		export_over(t);
		return 0;
	}
	if (t->call && !t->finished)
		send_chunk(t, buf, (size_t)n);
	return 0;
}

static void on_export_writable(struct grpc_call *call, void *arg)
{
	struct transfer *t = arg;

	(void)call;
	if (t->io)
		sd_event_source_set_enabled(t->io, SD_EVENT_ON);
}

static int begin_export(struct transfer *t, const uint8_t *data, size_t len,
			struct error *err)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	_cleanup_free_ uint8_t *buf = NULL;
	_cleanup_close_ int theirs = -EBADF;
	size_t n;
	int r;

	if (t->asked)
		return err_set(err, ERR_INVALID, "more than one request");
	if (wire_unpack(&sandbox__node__v1__export_snapshot_request__descriptor,
			data, len, &m, err) < 0 ||
	    open_pipe(t, false, &theirs, err) < 0)
		return -1;
	r = sd_event_add_io(loop_event(t->front->loop), &t->io, t->fd, EPOLLIN,
			    on_pipe_readable, t);
	if (r < 0)
		return err_sys(err, -r, "watch a pipe");
	buf = wire_pack(m, &n);
	t->asked = t->waiting = true;
	t->id = engine_call(t->front->engine, t->method, t->client->identity,
			    buf, n, theirs, on_export_answer, t);
	return 0;
}

static void on_export_message(struct grpc_call *call, const uint8_t *data,
			      size_t len, void *arg)
{
	struct transfer *t = arg;
	struct error err = { 0 };

	(void)call;
	if (!t->finished && begin_export(t, data, len, &err) < 0)
		refuse(t, &err);
}

static void on_export_half_close(struct grpc_call *call, void *arg)
{
	struct transfer *t = arg;
	struct error err = { 0 };

	(void)call;
	if (t->asked || t->finished)
		return;
	err_set(&err, ERR_INVALID, "the stream ended without a request");
	refuse(t, &err);
}

static const struct grpc_call_ops export_ops = {
	.message = on_export_message,
	.half_close = on_export_half_close,
	.writable = on_export_writable,
	.done = on_done
};

void transfer_export_snapshot(struct client *client, struct grpc_call *call)
{
	struct transfer *t = xcalloc(1, sizeof(*t));

	*t = (struct transfer){ .front = client->front,
				.client = client,
				.call = call,
				.method = "ExportSnapshot",
				.fd = -EBADF };
	grpc_call_accept(call, &export_ops, t);
}
