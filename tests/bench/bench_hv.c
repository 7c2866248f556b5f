/* SPDX-License-Identifier: Apache-2.0 */
/* bench_hv.c - hv.h over files
 *
 * A guest is the file guests/UUID/running below the state directory. Starting
 * and ending one costs a file, and each agent is a stream to the process of
 * bench_agents.c: what is left is the node's own work.
 */
#include "bench_node.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/hv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench_hv {
	struct hv base;
	char guests[PATH_MAX / 2];
	int agents_fd;
};

static void file_of(struct hv *hv, const char *uuid, char ret[PATH_MAX])
{
	const struct bench_hv *b = (const struct bench_hv *)hv;

	snprintf(ret, PATH_MAX, "%s/%s/" BENCH_GUEST_FILE, b->guests, uuid);
}

static int start(struct hv *hv, const struct guest_spec *spec,
		 const char *template_dir, const char *snapshot_dir, bool hold,
		 struct error *err)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX];

	(void)template_dir;
	(void)snapshot_dir;
	(void)hold;
	file_of(hv, spec->uuid, path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, errno, "make '%s'", path) : 0;
}

static int release(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   struct error *err)
{
	(void)hv;
	(void)spec;
	(void)template_dir;
	(void)snapshot_dir;
	(void)err;
	return 0;
}

static int send_fd(int to, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(to, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static enum guest_life life(struct hv *hv, const char *uuid)
{
	char path[PATH_MAX];

	file_of(hv, uuid, path);
	return access(path, F_OK) == 0 ? GUEST_LIFE_RUNNING : GUEST_LIFE_GONE;
}

static int open_agent(struct hv *hv, const struct guest_spec *spec, int *ret_fd,
		      struct error *err)
{
	int fds[2], r;

	if (life(hv, spec->uuid) != GUEST_LIFE_RUNNING)
		return err_set(err, ERR_UNAVAILABLE, "no running guest");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       fds) < 0)
		return err_sys(err, errno, "make a stream");
	r = send_fd(((struct bench_hv *)hv)->agents_fd, fds[1]);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return err_sys(err, -r, "reach the agents");
	}
	*ret_fd = fds[0];
	return 0;
}

static int destroy(struct hv *hv, const char *uuid, struct error *err)
{
	char path[PATH_MAX];

	file_of(hv, uuid, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove '%s'", path);
	return 0;
}

static int save(struct hv *hv, const struct guest_spec *spec,
		const char *template_dir, const char *snapshot_dir,
		bool keep_running, uint64_t *ret_bytes,
		struct hv_progress *progress, struct error *err)
{
	(void)template_dir;
	(void)progress;
	if (mkdir(snapshot_dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", snapshot_dir);
	*ret_bytes = 1 << 20;
	return keep_running ? 0 : destroy(hv, spec->uuid, err);
}

static int capture(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, struct hv_progress *progress,
		   struct error *err)
{
	(void)progress;
	if (mkdir(template_dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make '%s'", template_dir);
	return destroy(hv, spec->uuid, err);
}

static int wake(struct hv *hv, const struct guest_spec *spec,
		const char *template_dir, struct error *err)
{
	(void)hv;
	(void)spec;
	(void)template_dir;
	(void)err;
	return 0;
}

static int list_all(struct hv *hv, char (**ret)[HV_UUID_SIZE],
		    struct error *err)
{
	DIR *d = opendir(((struct bench_hv *)hv)->guests);
	char(*list)[HV_UUID_SIZE] = NULL;
	struct dirent *entry;
	int n = 0;

	if (!d)
		return err_sys(err, errno, "list the guests");
	while ((entry = readdir(d))) {
		if (strlen(entry->d_name) != HV_UUID_SIZE - 1 ||
		    life(hv, entry->d_name) != GUEST_LIFE_RUNNING)
			continue;
		list = xrealloc(list, (size_t)n + 1, sizeof(*list));
		memcpy(list[n++], entry->d_name, HV_UUID_SIZE);
	}
	closedir(d);
	*ret = list;
	return n;
}

static int verify(struct hv *hv, const char *snapshot_dir, struct error *err)
{
	(void)hv;
	return access(snapshot_dir, F_OK) < 0 ?
		       err_set(err, ERR_NOT_FOUND, "no snapshot") :
		       0;
}

/* There are no layers: the chain is short. */
static int merge(struct hv *hv, const struct guest_spec *spec,
		 const char *template_dir, const char *snapshot_dir,
		 const char *out_dir, uint64_t *ret_bytes,
		 struct hv_progress *progress, struct error *err)
{
	(void)hv;
	(void)spec;
	(void)template_dir;
	(void)snapshot_dir;
	(void)out_dir;
	(void)progress;
	(void)err;
	*ret_bytes = 0;
	return 0;
}

static int stats(struct hv *hv, const char *uuid, uint64_t *ret_cpu_ms,
		 uint64_t *ret_memory, struct error *err)
{
	(void)hv;
	(void)uuid;
	(void)err;
	*ret_cpu_ms = 0;
	if (ret_memory)
		*ret_memory = 0;
	return 0;
}

static int selftest(struct hv *hv, const struct guest_spec *spec,
		    struct error *err)
{
	(void)hv;
	(void)spec;
	(void)err;
	return 0;
}

static void bench_free(struct hv *hv)
{
	free(hv);
}

static const struct hv_ops ops = {
	.start = start,
	.release = release,
	.open_agent = open_agent,
	.save = save,
	.capture = capture,
	.wake = wake,
	.destroy = destroy,
	.life = life,
	.list = list_all,
	.verify = verify,
	.merge = merge,
	.selftest = selftest,
	.stats = stats,
	.free = bench_free,
};

int bench_hv_new(const char *state_dir, int agents_fd, struct hv **ret)
{
	struct bench_hv *b = xcalloc(1, sizeof(*b));

	b->base = (struct hv){ .ops = &ops,
			       .info = { .accelerator = HV_ACCEL_KVM,
					 .vsock = true,
					 .clones_work = true,
					 .libvirt_version = "none",
					 .qemu_version = "none",
					 .kernel_version = "none" } };
	snprintf(b->guests, sizeof(b->guests), "%s/guests", state_dir);
	b->agents_fd = agents_fd;
	*ret = &b->base;
	return 0;
}
