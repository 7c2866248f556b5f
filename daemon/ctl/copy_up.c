/* SPDX-License-Identifier: Apache-2.0 */
/* copy_up.c - from this machine into a sandbox
 *
 * Below the top the tree is walked by descriptors and without following links,
 * so that a tree which changes under the walk never leads out of itself.
 */
#include "ctl/copy.h"

#include "ctl/copy_name.h"
#include "ctl/text.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void put(struct copy *c, int dir_fd, const char *name, const char *local,
		const char *path, int depth);

/* The end of an upload that may have been refused half-way. */
static bool finish(struct copy *c, struct call *call, const char *local,
		   bool whole)
{
	struct grpc_status st = { 0 };
	ProtobufCMessage *m = NULL;

	if (whole) {
		call_half_close(call);
		m = call_recv(call);
		if (m)
			message_free(call_recv(call));
	}
	call_close(call, &st);
	if (m && st.code == GRPC_OK) {
		message_free(m);
		return true;
	}
	message_free(m);
	if (st.code == GRPC_OK || (!whole && st.code == GRPC_CANCELLED &&
				   !client_interrupted(c->ctl->client)))
		return false; /* why was said where it happened */
	copy_fail_status(c, local, &st);
	return false;
}

/* Return: 1 all was sent, 0 the call ended early, -1 reading failed. */
static int send_data(struct copy *c, struct call *call, int fd,
		     const char *local, uint64_t size)
{
	_cleanup_free_ uint8_t *buf = xcalloc(COPY_CHUNK, 1);
	NODE(WriteFileRequest) req = NODE_INIT(WRITE_FILE_REQUEST);
	uint64_t done = 0;

	req.input_case = NODE_CASE(WRITE_FILE_REQUEST__INPUT, DATA);
	req.data.data = buf;
	for (;;) {
		ssize_t n;

		if (fd == STDIN_FILENO &&
		    client_wait_readable(c->ctl->client, fd) < 0)
			return 0;
		n = read(fd, buf, COPY_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			copy_fail(c, local, "%s", strerror(errno));
			return -1;
		}
		if (n == 0)
			return 1;
		req.data.len = (size_t)n;
		if (call_send(call, &req.base) < 0)
			return 0;
		done += (uint64_t)n;
		c->bytes += (uint64_t)n;
		progress_show(&c->progress, local, done, size);
	}
}

static void put_file(struct copy *c, int fd, const struct stat *st,
		     const char *local, const char *path)
{
	Google__Protobuf__UInt32Value mode = UINT32_VALUE(st->st_mode & 07777);
	NODE(WriteFileRequest) req = NODE_INIT(WRITE_FILE_REQUEST);
	NODE(WriteFileStart) start = NODE_INIT(WRITE_FILE_START);
	struct call *call = call_open(c->ctl->client, "WriteFile");
	uint64_t size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	int r = 0;

	start.sandbox_id = c->id;
	start.path = pb_bytes(path);
	if (S_ISREG(st->st_mode))
		start.mode = &mode;
	start.make_parents = true;
	req.input_case = NODE_CASE(WRITE_FILE_REQUEST__INPUT, START);
	req.start = &start;
	if (call_send(call, &req.base) == 0)
		r = send_data(c, call, fd, local, size);
	if (finish(c, call, local, r > 0))
		c->files++;
}

/* What the API cannot make, the image's ln can. */
static void put_link(struct copy *c, int dir_fd, const char *name,
		     const char *local, const char *path)
{
	char target[COPY_PATH_MAX + 1];
	ssize_t len = readlinkat(dir_fd, name, target, sizeof(target) - 1);
	const char *const words[] = { "ln", "-sfn", "--", target, path };
	ProtobufCBinaryData argv[sizeof(words) / sizeof(words[0])];
	NODE(ExecRequest) req = NODE_INIT(EXEC_REQUEST);
	NODE(ExecStart) start = NODE_INIT(EXEC_START);
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	struct grpc_status st = { 0 };
	struct call *call;
	ProtobufCMessage *m;
	int exit_code = -1;

	if (len < 0) {
		copy_fail(c, local, "%s", strerror(errno));
		return;
	}
	target[len] = '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		argv[i] = pb_bytes(words[i]);
	spec.argv = argv;
	spec.n_argv = sizeof(words) / sizeof(words[0]);
	spec.user = (char *)(uintptr_t) "0";
	start.sandbox_id = c->id;
	start.process = &spec;
	req.input_case = NODE_CASE(EXEC_REQUEST__INPUT, START);
	req.start = &start;
	call = call_open(c->ctl->client, "Exec");
	if (call_send(call, &req.base) == 0)
		call_half_close(call);
	while ((m = call_recv(call))) {
		const NODE(ExecResponse) *r = (const NODE(ExecResponse) *)m;

		if (r->output_case == NODE_CASE(EXEC_RESPONSE__OUTPUT, EXITED))
			exit_code = (int)r->exited->exit_code;
		message_free(m);
	}
	call_close(call, &st);
	if (st.code != GRPC_OK)
		copy_fail_status(c, local, &st);
	else if (exit_code != 0)
		copy_fail(c, local,
			  "the sandbox could not make the symbolic link");
	else
		c->files++;
}

static bool make_directory(struct copy *c, const char *local, const char *path,
			   mode_t mode)
{
	Google__Protobuf__UInt32Value m = UINT32_VALUE(mode & 07777);
	NODE(MakeDirectoryRequest) req = NODE_INIT(MAKE_DIRECTORY_REQUEST);
	struct grpc_status st = { 0 };
	ProtobufCMessage *answer;

	req.sandbox_id = c->id;
	req.path = pb_bytes(path);
	req.make_parents = true;
	req.mode = &m;
	answer = client_unary(c->ctl->client, "MakeDirectory", &req.base, &st);
	if (!answer) {
		copy_fail_status(c, local, &st);
		return false;
	}
	message_free(answer);
	return true;
}

/* Consumes @fd. */
static void put_entries(struct copy *c, int fd, const char *local,
			const char *path, int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		copy_fail(c, local, "%s", strerror(errno));
		close(fd);
		return;
	}
	while (!c->fatal && (errno = 0, e = readdir(dir))) {
		_cleanup_free_ char *l = NULL;
		_cleanup_free_ char *p = NULL;

		if (!copy_name_ok(e->d_name, strlen(e->d_name)))
			continue; /* "." and ".." */
		l = copy_join(local, e->d_name);
		p = copy_join(path, e->d_name);
		put(c, dirfd(dir), e->d_name, l, p, depth + 1);
	}
	if (!c->fatal && errno)
		copy_fail(c, local, "%s", strerror(errno));
	closedir(dir);
}

static void put_open(struct copy *c, int dir_fd, const char *name,
		     const char *local, const char *path, int depth)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	/* O_NONBLOCK: a FIFO that took the file's place must not hang us. */
	fd = openat(dir_fd, name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		copy_fail(c, local, "%s", strerror(errno));
		return;
	}
	if (S_ISREG(st.st_mode)) {
		put_file(c, fd, &st, local, path);
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		copy_fail(c, local, "neither file, directory nor link");
		return;
	}
	if (depth >= COPY_DEPTH_MAX)
		copy_fail(c, local, "more than %d directories deep",
			  COPY_DEPTH_MAX);
	else if (make_directory(c, local, path, st.st_mode))
		put_entries(c, TAKE_FD(fd), local, path, depth);
}

static void put(struct copy *c, int dir_fd, const char *name, const char *local,
		const char *path, int depth)
{
	struct stat st;

	if (strlen(path) > COPY_PATH_MAX) {
		copy_fail(c, local, "the path is longer than %d bytes",
			  COPY_PATH_MAX);
		return;
	}
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		copy_fail(c, local, "%s", strerror(errno));
	else if (S_ISLNK(st.st_mode))
		put_link(c, dir_fd, name, local, path);
	else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		put_open(c, dir_fd, name, local, path, depth);
	else
		copy_fail(c, local, "neither file, directory nor link");
}

/* Where @local goes: into the directory @path, or to be @path. NULL: said. */
static char *choose_target(struct copy *c, const char *local, const char *path)
{
	_cleanup_free_ char *base = copy_base(local);
	struct grpc_status st = { 0 };
	NODE(StatFileResponse) *r = copy_stat(c, path, true, &st);
	bool into = copy_is_dir_path(path);

	if (r)
		into = r->info->type == NODE_ENUM(FILE_TYPE, DIRECTORY);
	else if (strcmp(st.reason, "FILE_NOT_FOUND") != 0) {
		copy_fail_status(c, path, &st);
		return NULL;
	}
	if (r)
		message_free(&r->base);
	return into && base ? copy_join(path, base) : xstrdup(path);
}

void copy_up(struct copy *c, const char *local, const char *path)
{
	_cleanup_free_ char *target = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (strcmp(local, "-") == 0) {
		if (fstat(STDIN_FILENO, &st) < 0)
			copy_fail(c, local, "%s", strerror(errno));
		else
			put_file(c, STDIN_FILENO,
				 &(struct stat){ .st_mode = 0 }, local, path);
		return;
	}
	if (lstat(local, &st) < 0) {
		copy_fail(c, local, "%s", strerror(errno));
		return;
	}
	target = choose_target(c, local, path);
	if (!target)
		return;
	/* "link/" means what it points to: the kernel follows it then, and so
	 * does the open below, with "." as the name.
	 */
	if (copy_is_dir_path(local)) {
		fd = open(local, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			copy_fail(c, local, "%s", strerror(errno));
		else
			put(c, fd, ".", local, target, 0);
		return;
	}
	put(c, AT_FDCWD, local, local, target, 0);
}
