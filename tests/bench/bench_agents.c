/* SPDX-License-Identifier: Apache-2.0 */
/* bench_agents.c - a process in which all guests' agents live
 *
 * It gets the agents' ends of streams, one a message, and answers at once what a
 * node needs of a guest that does nothing. An Exec has started and exits with 0.
 */
#include "bench_node.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/grpc_io.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/pb.h"
#include "grpc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct answering {
	struct grpc_call *call;
	char method[32];
	bool answered;
};

static void send_message(struct grpc_call *call, const ProtobufCMessage *m)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;

	data = pb_pack(m, &len);
	grpc_call_send(call, data, len);
}

static void answer_exec(struct grpc_call *call)
{
	Sandbox__Node__V1__ProcessStarted started =
		SANDBOX__NODE__V1__PROCESS_STARTED__INIT;
	Sandbox__Node__V1__ProcessExited exited =
		SANDBOX__NODE__V1__PROCESS_EXITED__INIT;
	Sandbox__Node__V1__ExecResponse m =
		SANDBOX__NODE__V1__EXEC_RESPONSE__INIT;

	started.pid = 2;
	m.output_case = SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED;
	m.started = &started;
	send_message(call, &m.base);
	m.output_case = SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED;
	m.exited = &exited;
	send_message(call, &m.base);
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	Sandbox__Agent__V1__HelloResponse hello =
		SANDBOX__AGENT__V1__HELLO_RESPONSE__INIT;
	Sandbox__Agent__V1__ConfigureResponse empty =
		SANDBOX__AGENT__V1__CONFIGURE_RESPONSE__INIT;
	struct grpc_status st = { .code = GRPC_OK };
	struct answering *a = arg;

	(void)data;
	(void)len;
	if (a->answered)
		return;
	a->answered = true;
	hello.protocol_version = 1;
	hello.agent_version = (char *)(uintptr_t) "bench";
	hello.kernel_release = (char *)(uintptr_t) "none";
	if (!strcmp(a->method, "Hello"))
		send_message(call, &hello.base);
	else if (!strcmp(a->method, "Exec"))
		answer_exec(call);
	else if (!strcmp(a->method, "Configure") ||
		 !strcmp(a->method, "Freeze") || !strcmp(a->method, "Thaw"))
		send_message(call, &empty.base);
	else
		grpc_status_set(&st, GRPC_UNIMPLEMENTED, "",
				"there is no guest");
	grpc_call_finish(call, &st);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	(void)call;
	(void)st;
	free(arg);
}

static const struct grpc_call_ops call_ops = { .message = on_message,
					       .done = on_done };

static void on_accept(struct grpc_call *call, const char *path, void *arg)
{
	struct answering *a = xcalloc(1, sizeof(*a));
	const char *slash = strrchr(path, '/');

	(void)arg;
	a->call = call;
	snprintf(a->method, sizeof(a->method), "%s", slash ? slash + 1 : "");
	grpc_call_accept(call, &call_ops, a);
}

static const struct grpc_conn_ops conn_ops = { .accept = on_accept };

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	(void)io;
	(void)why;
	(void)arg;
}

static const struct grpc_io_ops io_ops = { .closed = on_closed };

/* One descriptor; 0: the node is gone. */
static int receive(int from, int *ret)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (n <= 0)
		return 0;
	*ret = -EBADF;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret, CMSG_DATA(c), sizeof(int));
	return 1;
}

static int on_stream(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct loop *loop = arg;
	int agent;

	(void)s;
	(void)events;
	if (!receive(fd, &agent)) {
		loop_stop(loop, 0);
		return 0;
	}
	if (agent >= 0)
		grpc_io_new(loop, agent,
			    grpc_conn_new_server(&conn_ops, NULL, NULL,
						 loop_now_ms()),
			    NULL, &io_ops, NULL);
	return 0;
}

static void serve(int fd)
{
	struct loop *loop;
	struct error err;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (loop_new(&loop, &err) < 0)
		_exit(1);
	sd_event_add_io(loop_event(loop), NULL, fd, EPOLLIN, on_stream, loop);
	loop_run(loop);
	_exit(0);
}

int bench_agents_start(struct error *err)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "make a socket");
	pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "start the agents");
	if (pid == 0) {
		close(fds[0]);
		serve(fds[1]);
	}
	close(fds[1]);
	return fds[0];
}
