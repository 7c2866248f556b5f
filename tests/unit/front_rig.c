/* SPDX-License-Identifier: Apache-2.0 */
/* front_rig.c - a front, and the fake engine that it works for */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/grpc_io.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/front_link.h"
#include "front/front.h"
#include "front/wire.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the fake engine ---- */

static void tell_all(struct rig *rig);

static void on_up(void *arg)
{
	struct rig *rig = arg;

	rig->up = true;
	rig->down = false;
	tell_all(rig);
}

static void on_down(const char *why, void *arg)
{
	(void)why;
	((struct rig *)arg)->down = true;
	((struct rig *)arg)->up = false;
}

static void on_call(uint64_t id, const char *method, const char *identity,
		    const uint8_t *request, size_t len, int *fd, void *arg)
{
	_cleanup_free_ uint8_t *buf = NULL;
	struct rig *rig = arg;
	size_t n = 0;

	rig->call_id = id;
	snprintf(rig->method, sizeof(rig->method), "%s", method);
	snprintf(rig->identity, sizeof(rig->identity), "%s", identity);
	free(rig->request);
	rig->request = len ? xmemdup(request, len) : NULL;
	rig->request_len = len;
	fd_close(&rig->call_fd);
	rig->call_fd = TAKE_FD(*fd);
	if (rig->hold_calls)
		return;
	if (rig->call_answer)
		buf = wire_pack(rig->call_answer, &n);
	front_link_reply(rig->engine, id,
			 rig->call_err.code ? &rig->call_err : NULL, buf, n,
			 false);
}

static void on_cancel(uint64_t id, void *arg)
{
	((struct rig *)arg)->cancelled_id = id;
}

static void grant(struct rig *rig, uint64_t id)
{
	Sandbox__Ipc__V1__AcquireResponse m =
		SANDBOX__IPC__V1__ACQUIRE_RESPONSE__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	m.lease = ++rig->acquired;
	m.generation = 1;
	if (rig->allow_port) {
		m.n_allow_ports = 1;
		m.allow_ports = &rig->allow_port;
	}
	buf = wire_pack(&m.base, &len);
	front_link_reply(rig->engine, id,
			 rig->acquire_err.code ? &rig->acquire_err : NULL, buf,
			 len, false);
	if (rig->acquire_err.code)
		rig->acquired--;
}

static void on_acquire(uint64_t id, const char *sandbox_id,
		       const char *identity, void *arg)
{
	struct rig *rig = arg;

	(void)sandbox_id;
	(void)identity;
	if (rig->hold_acquires)
		rig->held_acquire = id;
	else
		grant(rig, id);
}

static void on_release(uint64_t lease, void *arg)
{
	(void)lease;
	((struct rig *)arg)->released++;
}

static void on_activity(const char *sandbox_id, void *arg)
{
	(void)sandbox_id;
	((struct rig *)arg)->activities++;
}

static void on_event(const char *sandbox_id, const char *type,
		     const struct front_pair *data, size_t n, void *arg)
{
	struct rig *rig = arg;
	char *at = rig->events[rig->n_events % RIG_EVENTS_MAX];
	size_t len;

	(void)sandbox_id;
	len = (size_t)snprintf(at, 128, "%s", type);
	for (size_t i = 0; i < n && len < 128; i++)
		len += (size_t)snprintf(at + len, 128 - len, " %s=%s",
					data[i].key, data[i].value);
	rig->n_events++;
}

static void on_link_lost(const char *key, uint64_t generation, const char *why,
			 bool broken, void *arg)
{
	struct rig *rig = arg;

	(void)key;
	(void)generation;
	rig->lost++;
	rig->lost_broken += broken;
	snprintf(rig->lost_why, sizeof(rig->lost_why), "%s", why);
}

static void on_agent_silent(const char *key, uint64_t generation, bool silent,
			    void *arg)
{
	struct rig *rig = arg;

	(void)generation;
	snprintf(rig->silent_key, sizeof(rig->silent_key), "%s", key);
	if (silent)
		rig->silences++;
	else
		rig->heard_again++;
}

/* A log of events numbered log_oldest..log_newest. */
static void on_read_events(uint64_t id, uint64_t since, const char *sandbox_id,
			   char *const *types, size_t n_types, uint32_t limit,
			   void *arg)
{
	Sandbox__Ipc__V1__ReadEventsResponse m =
		SANDBOX__IPC__V1__READ_EVENTS_RESPONSE__INIT;
	ProtobufCBinaryData events[100];
	_cleanup_free_ uint8_t *buf = NULL;
	struct rig *rig = arg;
	uint64_t seq =
		since + 1 > rig->log_oldest ? since + 1 : rig->log_oldest;
	size_t len;

	(void)sandbox_id;
	(void)types;
	(void)n_types;
	rig->reads++;
	for (; seq <= rig->log_newest && m.n_events < limit; seq++) {
		Sandbox__Node__V1__Event e = SANDBOX__NODE__V1__EVENT__INIT;

		e.sequence = seq;
		e.type = (char *)"sandbox.started";
		events[m.n_events].data =
			wire_pack(&e.base, &events[m.n_events].len);
		m.n_events++;
	}
	m.events = events;
	m.oldest_sequence = rig->log_oldest;
	m.newest_sequence = rig->log_newest;
	m.next_since = seq - 1;
	buf = wire_pack(&m.base, &len);
	front_link_reply(rig->engine, id, NULL, buf, len, false);
	for (size_t i = 0; i < m.n_events; i++)
		free(events[i].data);
}

static const struct front_link_ops engine_ops = {
	.up = on_up,
	.down = on_down,
	.call = on_call,
	.cancel = on_cancel,
	.acquire = on_acquire,
	.release = on_release,
	.activity = on_activity,
	.event = on_event,
	.link_lost = on_link_lost,
	.agent_silent = on_agent_silent,
	.read_events = on_read_events,
};

void rig_answer(const struct error *err, const uint8_t *data, size_t len,
		void *arg)
{
	struct rig *rig = arg;

	(void)data;
	(void)len;
	rig->answered = true;
	rig->answer_err = err ? *err : (struct error){ 0 };
}

bool rig_has_event(struct rig *rig, const char *text)
{
	for (unsigned int i = 0; i < rig->n_events && i < RIG_EVENTS_MAX; i++) {
		if (!strcmp(rig->events[i], text))
			return true;
	}
	return false;
}

/* ---- the rig ---- */

static void on_gone(struct front *front, const char *why)
{
	(void)front;
	(void)why;
}

void rig_step(struct rig *rig)
{
	sd_event_run(loop_event(rig->loop), 100000);
}

void rig_settle(struct rig *rig)
{
	while (sd_event_run(loop_event(rig->loop), 20000) > 0)
		;
}

static void listen_unix(struct rig *rig)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(rig->dir, sizeof(rig->dir), "/tmp/front-test-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->path, sizeof(rig->path), "%s/node.sock", rig->dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", rig->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	chmod(rig->dir, 0755);
	chmod(rig->path, 0666);
	assert_int_equal(listen(fd, 64), 0);
	rig->listen_fd = fd;
}

void rig_setup(struct rig *rig, Sandbox__Ipc__V1__Setup *setup, const int *fds)
{
	_cleanup_free_ uint8_t *buf = NULL;
	uint32_t uid = getuid();
	size_t len;

	setup->n_allowed_uids = 1;
	setup->allowed_uids = &uid;
	buf = wire_pack(&setup->base, &len);
	front_link_setup(rig->engine, buf, len, fds, fds ? 3 : 0);
}

static void tell_all(struct rig *rig)
{
	Sandbox__Ipc__V1__Setup setup = SANDBOX__IPC__V1__SETUP__INIT;

	rig_setup(rig, &setup, NULL);
	front_link_listen(rig->engine, false, rig->listen_fd);
}

static struct rig *begin(void)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	signal(SIGPIPE, SIG_IGN);
	rig->call_fd = -EBADF;
	rig->log_oldest = 1;
	list_init(&rig->agent_calls);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	listen_unix(rig);
	return rig;
}

struct rig *rig_new(void)
{
	struct rig *rig = begin();
	int fds[2];

	assert_int_equal(ipc_pair(fds, NULL), 0);
	assert_int_equal(front_link_new_fd(rig->loop, fds[0], &engine_ops, rig,
					   &rig->engine, NULL),
			 0);
	assert_int_equal(
		front_new(rig->loop, fds[1], on_gone, &rig->front, NULL), 0);
	rig_until(rig, rig->up && !list_empty(&rig->front->listeners));
	return rig;
}

struct rig *rig_new_process(void)
{
	struct front_link_config config = { .program = "./sandboxd-front" };
	struct rig *rig = begin();

	if (getuid() == 0)
		config.uid = config.gid = 65534;
	assert_int_equal(front_link_new(rig->loop, &config, &engine_ops, rig,
					&rig->engine, NULL),
			 0);
	rig_until(rig, rig->up);
	return rig;
}

void rig_free(struct rig *rig)
{
	rig->front = front_free(rig->front);
	rig->agent_io = grpc_io_free(rig->agent_io);
	rig->older_io = grpc_io_free(rig->older_io);
	rig->engine = front_link_free(rig->engine);
	fd_close(&rig->call_fd);
	fd_close(&rig->listen_fd);
	free(rig->request);
	unlink(rig->path);
	rmdir(rig->dir);
	loop_free(rig->loop);
	free(rig);
}
