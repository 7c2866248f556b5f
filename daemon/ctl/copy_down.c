/* SPDX-License-Identifier: Apache-2.0 */
/* copy_down.c - from a sandbox to this machine
 *
 * Theory of operation
 * ===================
 *
 * The guest is hostile: it chooses names, types, sizes and links, and may
 * answer differently each time. What holds whatever it says:
 *
 *  - Every name is one checked component, used relative to a descriptor of the
 *    directory it goes into; that was opened with O_NOFOLLOW. So nothing is
 *    written outside the destination, not even through a link that the same
 *    copy has just made.
 *  - A file is written under a name of ours, made with O_EXCL, and renamed into
 *    place when complete: what was there is replaced, never written through.
 *  - No set-uid, set-gid or sticky bit arrives: a guest's file must not become
 *    a program with power on the host.
 *  - Devices, sockets and FIFOs are not made.
 */
#include "ctl/copy.h"

#include "ctl/copy_name.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define TEMP_MAX 40

static void get(struct copy *c, const NODE(FileInfo) * info, const char *path,
		int dir_fd, const char *name, int depth);

static void temp_name(char dst[TEMP_MAX])
{
	uint8_t random[8];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		abort();
	memcpy(dst, ".sandboxctl-", 12);
	str_hex(dst + 12, random, sizeof(random));
}

static bool all_zero(const uint8_t *data, size_t len)
{
	return len > 0 && data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

/* Zeros become holes: a sparse file stays one. 0 or -errno. */
static int write_at(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	while (len > 0) {
		size_t n = len < 65536 ? len : 65536;

		if (!all_zero(data, n)) {
			int r = fd_pwrite_full(fd, data, n, (off_t)at);

			if (r < 0)
				return r;
		}
		data += n;
		len -= n;
		at += n;
	}
	return 0;
}

/* All of the remote file into @fd; false: why was said. */
static bool receive(struct copy *c, const char *path, int fd, uint64_t size)
{
	NODE(ReadFileRequest) req = NODE_INIT(READ_FILE_REQUEST);
	struct call *call = call_open(c->ctl->client, "ReadFile");
	struct grpc_status st = { 0 };
	ProtobufCMessage *m;
	uint64_t at = 0;
	int e = 0;

	req.sandbox_id = c->id;
	req.path = pb_bytes(path);
	if (call_send(call, &req.base) == 0)
		call_half_close(call);
	while (e == 0 && (m = call_recv(call))) {
		const NODE(ReadFileResponse) *r =
			(const NODE(ReadFileResponse) *)m;

		e = write_at(fd, r->data.data, r->data.len, at);
		at += r->data.len;
		c->bytes += r->data.len;
		progress_show(&c->progress, path, at, size);
		message_free(m);
	}
	call_close(call, &st);
	if (e == 0 && st.code == GRPC_OK && ftruncate(fd, (off_t)at) < 0)
		e = -errno;
	if (e < 0) {
		copy_fail(c, path, "write here: %s", strerror(-e));
		return false;
	}
	if (st.code != GRPC_OK) {
		copy_fail_status(c, path, &st);
		return false;
	}
	return true;
}

static void get_file(struct copy *c, const NODE(FileInfo) * info,
		     const char *path, int dir_fd, const char *name)
{
	_cleanup_close_ int fd = -EBADF;
	char temp[TEMP_MAX];

	temp_name(temp);
	fd = openat(dir_fd, temp,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		copy_fail(c, path, "make a file here: %s", strerror(errno));
		return;
	}
	if (!receive(c, path, fd, info->size_bytes)) {
		unlinkat(dir_fd, temp, 0);
		return;
	}
	if (fchmod(fd, info->mode & 0777) < 0 ||
	    renameat(dir_fd, temp, dir_fd, name) < 0) {
		copy_fail(c, path, "put in place as '%s': %s", name,
			  strerror(errno));
		unlinkat(dir_fd, temp, 0);
		return;
	}
	c->files++;
}

static void get_link(struct copy *c, const NODE(FileInfo) * info,
		     const char *path, int dir_fd, const char *name)
{
	_cleanup_free_ char *target = NULL;
	char temp[TEMP_MAX];

	if (info->link_target.len == 0 ||
	    info->link_target.len > COPY_PATH_MAX ||
	    memchr(info->link_target.data, '\0', info->link_target.len)) {
		copy_fail(c, path, "a link to nothing sensible");
		return;
	}
	target = xcalloc(info->link_target.len + 1, 1);
	memcpy(target, info->link_target.data, info->link_target.len);
	temp_name(temp);
	if (symlinkat(target, dir_fd, temp) < 0) {
		copy_fail(c, path, "make a link here: %s", strerror(errno));
		return;
	}
	if (renameat(dir_fd, temp, dir_fd, name) < 0) {
		copy_fail(c, path, "put in place as '%s': %s", name,
			  strerror(errno));
		unlinkat(dir_fd, temp, 0);
		return;
	}
	c->files++;
}

/* One page of a listing. Return: the last name (heap) when there are more. */
static char *get_page(struct copy *c, const char *path, int fd, int depth,
		      const char *after)
{
	NODE(ListDirectoryRequest) req = NODE_INIT(LIST_DIRECTORY_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(ListDirectoryResponse) * r;
	struct grpc_status st = { 0 };
	char *last = NULL;

	req.sandbox_id = c->id;
	req.path = pb_bytes(path);
	req.after_name = pb_bytes(after);
	m = client_unary(c->ctl->client, "ListDirectory", &req.base, &st);
	if (!m) {
		copy_fail_status(c, path, &st);
		return NULL;
	}
	r = (const NODE(ListDirectoryResponse) *)m;
	for (size_t i = 0; i < r->n_entries && !c->fatal; i++) {
		const NODE(FileInfo) *info = r->entries[i];
		_cleanup_free_ char *name = NULL;
		_cleanup_free_ char *child = NULL;

		if (!copy_name_ok(info->name.data, info->name.len)) {
			copy_fail(c, path,
				  "the sandbox lists a name that no file can "
				  "have");
			continue;
		}
		name = xcalloc(info->name.len + 1, 1);
		memcpy(name, info->name.data, info->name.len);
		child = copy_join(path, name);
		get(c, info, child, fd, name, depth + 1);
		free(last);
		last = TAKE_PTR(name);
	}
	/* Names come in order: one that does not grow is a guest's joke, and
	 * would have us list for ever.
	 */
	if (!r->has_more || c->fatal || !last ||
	    (after && strcmp(last, after) <= 0)) {
		free(last);
		return NULL;
	}
	return last;
}

static void get_entries(struct copy *c, const char *path, int fd, int depth)
{
	char *after = NULL;

	do {
		char *next = get_page(c, path, fd, depth, after);

		free(after);
		after = next;
	} while (after && !c->fatal);
	free(after);
}

static void get_directory(struct copy *c, const NODE(FileInfo) * info,
			  const char *path, int dir_fd, const char *name,
			  int depth)
{
	_cleanup_close_ int fd = -EBADF;
	bool made;

	if (depth >= COPY_DEPTH_MAX) {
		copy_fail(c, path, "more than %d directories deep",
			  COPY_DEPTH_MAX);
		return;
	}
	made = mkdirat(dir_fd, name, 0700) == 0;
	if (made || errno == EEXIST)
		fd = openat(dir_fd, name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		copy_fail(c, path, "make directory '%s' here: %s", name,
			  strerror(errno));
		return;
	}
	get_entries(c, path, fd, depth);
	if (made && fchmod(fd, info->mode & 0777) < 0)
		copy_fail(c, path, "set its mode here: %s", strerror(errno));
}

static void get(struct copy *c, const NODE(FileInfo) * info, const char *path,
		int dir_fd, const char *name, int depth)
{
	if (strlen(path) > COPY_PATH_MAX) {
		copy_fail(c, path, "the path is longer than %d bytes",
			  COPY_PATH_MAX);
		return;
	}
	switch ((int)info->type) {
	case NODE_ENUM(FILE_TYPE, REGULAR):
		get_file(c, info, path, dir_fd, name);
		break;
	case NODE_ENUM(FILE_TYPE, DIRECTORY):
		get_directory(c, info, path, dir_fd, name, depth);
		break;
	case NODE_ENUM(FILE_TYPE, SYMLINK):
		get_link(c, info, path, dir_fd, name);
		break;
	default:
		copy_fail(c, path, "neither file, directory nor link");
		break;
	}
}

/* The directory it goes into, and its name there (NULL: its contents go
 * there). The destination itself is the user's own word: links in it count.
 */
static int open_target(struct copy *c, const char *path, const char *local,
		       bool is_dir, char **ret_name)
{
	_cleanup_free_ char *base = copy_base(path);
	_cleanup_free_ char *dir = NULL;
	const char *into = local;
	struct stat st;
	int fd;

	if (stat(local, &st) == 0 && S_ISDIR(st.st_mode)) {
		*ret_name = TAKE_PTR(base);
	} else if (!base && is_dir) {
		mkdir(local, 0777);
		*ret_name = NULL;
	} else {
		*ret_name = copy_base(local);
		dir = copy_dir(local);
		into = dir;
		if (!*ret_name) {
			copy_fail(c, path, "'%s' names no file", local);
			return -1;
		}
	}
	fd = open(into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		copy_fail(c, path, "'%s': %s", into, strerror(errno));
		free(*ret_name);
		*ret_name = NULL;
	}
	return fd;
}

void copy_down(struct copy *c, const char *path, const char *local)
{
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	_cleanup_free_ char *base = copy_base(path);
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct grpc_status st = { 0 };
	NODE(StatFileResponse) * r;
	bool is_dir;

	/* "dir/", "." and "/" mean the directory behind a link. */
	r = copy_stat(c, path, copy_is_dir_path(path) || !base, &st);
	if (!r) {
		copy_fail_status(c, path, &st);
		return;
	}
	m = &r->base;
	is_dir = r->info->type == NODE_ENUM(FILE_TYPE, DIRECTORY);
	if (strcmp(local, "-") == 0) {
		copy_fail(c, path, "use 'cat' to print a file");
		return;
	}
	fd = open_target(c, path, local, is_dir, &name);
	if (fd < 0)
		return;
	if (name)
		get(c, r->info, path, fd, name, 0);
	else
		get_entries(c, path, fd, 0);
}
