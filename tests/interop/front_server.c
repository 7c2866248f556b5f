/* SPDX-License-Identifier: Apache-2.0 */
/* front_server.c - the real sandboxd-front, jailed, for clients from outside
 *
 * usage: front_server CERT KEY CA, in the build directory
 *
 * The engine and the agent of sandbox "sb_1" are the unit tests' fakes: Exec
 * gives back what is written to it. Prints "listening UNIX TCP" when both
 * listeners are served; ends when its input does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/front_rig.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "engine/front_link.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static bool over;

static int on_stdin(sd_event_source *source, int fd, uint32_t revents,
		    void *arg)
{
	char buf[64];

	(void)source;
	(void)revents;
	(void)arg;
	over = read(fd, buf, sizeof(buf)) <= 0;
	return 0;
}

static int listen_tcp(unsigned int *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
	    listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		return -1;
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

int main(int argc, char **argv)
{
	Sandbox__Ipc__V1__Setup setup = SANDBOX__IPC__V1__SETUP__INIT;
	_cleanup_close_ int tcp = -EBADF;
	unsigned int port;
	struct rig *rig;
	int fds[3];

	if (argc != 4) {
		fprintf(stderr, "usage: front_server CERT KEY CA\n");
		return 2;
	}
	for (int i = 0; i < 3; i++) {
		fds[i] = open(argv[i + 1], O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0) {
			perror(argv[i + 1]);
			return 1;
		}
	}
	tcp = listen_tcp(&port);
	if (tcp < 0) {
		perror("listen");
		return 1;
	}
	rig = rig_new_process();
	setup.tls = true;
	setup.reflection = true;
	rig_setup(rig, &setup, fds);
	front_link_listen(rig->engine, true, tcp);
	rig_attach(rig, "sb_1");
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	sd_event_add_io(loop_event(rig->loop), NULL, STDIN_FILENO, EPOLLIN,
			on_stdin, NULL);
	printf("listening %s 127.0.0.1:%u\n", rig->path, port);
	fflush(stdout);
	while (!over)
		rig_step(rig);
	rig_free(rig);
	return 0;
}
