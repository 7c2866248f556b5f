/* SPDX-License-Identifier: Apache-2.0 */
/* link.c - where the node can reach the agent */
#include "link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

#define BACKLOG 16
#define PORTS	"/sys/class/virtio-ports"

int link_unix_listen(const char *path, struct error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -EBADF;
	mode_t old;
	int r;

	if (str_copy(sa.sun_path, sizeof(sa.sun_path), path) < 0)
		return err_set(err, ERR_INVALID, "socket path '%s' is too long",
			       path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, "make a socket");
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove '%s'", path);
	old = umask(0177);
	r = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(old);
	if (r < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "listen on '%s'", path);
	return TAKE_FD(fd);
}

int link_vsock_listen(uint32_t port, struct error *err)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = port,
	};
	_cleanup_close_ int fd = -EBADF;

	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, "make a vsock socket");
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "listen on vsock port %u", port);
	return TAKE_FD(fd);
}

bool link_is_host(const struct sockaddr_vm *peer, socklen_t len)
{
	return len >= sizeof(*peer) && peer->svm_family == AF_VSOCK &&
	       peer->svm_cid == VMADDR_CID_HOST;
}

bool link_vsock_is_host(int fd)
{
	struct sockaddr_vm sa = { .svm_family = AF_UNSPEC };
	socklen_t len = sizeof(sa);

	return getpeername(fd, (struct sockaddr *)&sa, &len) == 0 &&
	       link_is_host(&sa, len);
}

/* Whether /sys/class/virtio-ports/@port/name says @name. */
static bool is_named(const char *port, const char *name)
{
	_cleanup_free_ char *path = xasprintf(PORTS "/%s/name", port);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char line[128];

	if (!f || !fgets(line, sizeof(line), f))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return !strcmp(line, name);
}

int link_serial_open(const char *name, struct error *err)
{
	DIR *dir = opendir(PORTS);
	_cleanup_close_ int fd = -EBADF;
	char path[300] = "";
	struct dirent *de;

	while (dir && !path[0] && (de = readdir(dir)))
		if (de->d_name[0] != '.' && is_named(de->d_name, name))
			snprintf(path, sizeof(path), "/dev/%s", de->d_name);
	if (dir)
		closedir(dir);
	if (!path[0])
		return err_set(err, ERR_NOT_FOUND,
			       "there is no virtio-serial port '%s'", name);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return err_sys(err, errno, "open '%s'", path);
	return TAKE_FD(fd);
}
