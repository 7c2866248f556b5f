/* SPDX-License-Identifier: Apache-2.0 */
/* format.c - mke2fs on behalf of a process that may not start programs */
#include "image/format.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "image/ext4.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SIZE_MIN   (16ull << 20)
#define INODES_MAX 4000000u
#define OUT_FD	   3

/* Features are named one by one so that neither this host's mke2fs.conf nor a
 * newer mke2fs decides: Linux 6.1 must be able to mount and to grow it. There
 * are descriptors in reserve for 256 GiB. The file is fresh, so what is not
 * written is zero: nothing is left for the guest to initialise.
 *
 * Nor does the hour, or chance: no host mounts it, and in a guest it is alone, so
 * all may have one UUID.
 */
#define FEATURES                                                               \
	"none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,"    \
	"64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,"           \
	"extra_isize,metadata_csum"
#define EXTENDED                                                               \
	"resize=67108864,root_owner=0:0,lazy_itable_init=1,"                   \
	"lazy_journal_init=1,assume_storage_prezeroed=1,nodiscard,"            \
	"hash_seed=" UUID
#define UUID "5a4db0e5-0000-4000-8000-000000000001"

struct request {
	uint64_t size, inodes;
};

static void exec_mke2fs(const struct request *req)
{
	char blocks[24], inodes[24], now[48];
	const char *argv[] = { "mke2fs",  "-q",
			       "-F",	  "-b",
			       "4096",	  "-I",
			       "256",	  "-m",
			       "0",	  "-J",
			       "size=32", "-O",
			       FEATURES,  "-E",
			       EXTENDED,  "-L",
			       "root",	  "-U",
			       UUID,	  "-N",
			       inodes,	  "/proc/self/fd/3",
			       blocks,	  NULL };
	const char *envp[] = { "MKE2FS_CONFIG=/nonexistent",
			       "PATH=/usr/sbin:/sbin",
			       "LC_ALL=C",
			       "MKE2FS_SKIP_CHECK_MSG=1",
			       now,
			       NULL };

	snprintf(now, sizeof(now), "E2FSPROGS_FAKE_TIME=%d", FORMAT_TIME);
	snprintf(blocks, sizeof(blocks), "%" PRIu64, req->size / EXT4_BLOCK);
	snprintf(inodes, sizeof(inodes), "%" PRIu64, req->inodes);
	execve("/sbin/mke2fs", (char **)argv, (char **)envp);
	_exit(127);
}

static int mke2fs(int out, const struct request *req)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		if (out == OUT_FD)
			fcntl(out, F_SETFD, 0);
		else
			dup2(out, OUT_FD);
		close_range(OUT_FD + 1, ~0u, 0);
		exec_mke2fs(req);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static int drop(uid_t uid, gid_t gid)
{
	struct rlimit cpu = { 60, 60 };

	setrlimit(RLIMIT_CPU, &cpu);
	if (uid && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0))
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static void serve(int fd, int out, uid_t uid, gid_t gid, uint64_t size_max)
{
	struct request req;
	uint8_t answer = 125;

	if (drop(uid, gid) < 0 || fd_read_full(fd, &req, sizeof(req)) < 0)
		_exit(1);
	if (req.size >= SIZE_MIN && req.size <= size_max &&
	    req.size % EXT4_BLOCK == 0 && req.inodes <= INODES_MAX &&
	    ftruncate(out, 0) == 0 && ftruncate(out, (off_t)req.size) == 0)
		answer = (uint8_t)mke2fs(out, &req);
	_exit(fd_write_full(fd, &answer, 1) < 0);
}

int format_prepare(struct format *format, int out, uid_t uid, gid_t gid,
		   uint64_t size_max, struct error *err)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "make a socket");
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return err_sys(err, errno, "start a process for mke2fs");
	}
	if (pid == 0) {
		close(fds[0]);
		serve(fds[1], out, uid, gid, size_max);
	}
	close(fds[1]);
	*format = (struct format){ .fd = fds[0], .pid = pid };
	return 0;
}

int format_run(struct format *format, uint64_t size, uint64_t inodes,
	       struct error *err)
{
	struct request req = { .size = size, .inodes = inodes };
	uint8_t answer;

	if (fd_write_full(format->fd, &req, sizeof(req)) < 0 ||
	    fd_read_full(format->fd, &answer, 1) < 0)
		return err_set(err, ERR_INTERNAL,
			       "make a file system: its process is gone");
	if (answer == 125)
		return err_set(err, ERR_LIMIT,
			       "the image needs a disk of %" PRIu64
			       " MiB, which is more than allowed",
			       size >> 20);
	if (answer != 0)
		return err_set(err, ERR_INTERNAL,
			       "make a file system: mke2fs exited with %u",
			       answer);
	return 0;
}

void format_fini(struct format *format)
{
	if (format->pid <= 0)
		return;
	fd_close(&format->fd);
	/* In a jail there is no waiting; it ends with its socket. */
	format->pid = 0;
}
