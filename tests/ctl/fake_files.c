/* SPDX-License-Identifier: Apache-2.0 */
/* fake_files.c - the fake's files: real ones below fake_root, and /hostile
 *
 * /hostile is a directory as a guest that attacks its host would list it: names
 * that lead out, and a link and a directory of the same name, so that a
 * careless copy writes the directory's file through the link.
 */
#include "fake.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES_MAX 64

static void root_path(char dst[8192], const ProtobufCBinaryData *path)
{
	snprintf(dst, 8192, "%s/%.*s", fake_root, (int)path->len,
		 (const char *)path->data);
}

static bool is_path(const ProtobufCBinaryData *path, const char *text)
{
	return path->len == strlen(text) &&
	       memcmp(path->data, text, path->len) == 0;
}

static void set_bytes(ProtobufCBinaryData *b, const char *s)
{
	b->data = (uint8_t *)xstrdup(s);
	b->len = strlen(s);
}

/* The type and mode of @path; its strings are never freed: tests are short. */
static bool fill(NODE(FileInfo) * info, const char *path, const char *name,
		 bool follow)
{
	char target[4096];
	struct stat st;
	ssize_t n;

	sandbox__node__v1__file_info__init(info);
	if ((follow ? stat(path, &st) : lstat(path, &st)) < 0)
		return false;
	set_bytes(&info->name, name);
	info->mode = st.st_mode & 07777;
	info->size_bytes = (uint64_t)st.st_size;
	info->type = S_ISREG(st.st_mode)   ? NODE_ENUM(FILE_TYPE, REGULAR)
		     : S_ISDIR(st.st_mode) ? NODE_ENUM(FILE_TYPE, DIRECTORY)
		     : S_ISLNK(st.st_mode) ? NODE_ENUM(FILE_TYPE, SYMLINK)
					   : NODE_ENUM(FILE_TYPE, OTHER);
	if (S_ISLNK(st.st_mode)) {
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		set_bytes(&info->link_target, target);
	}
	return true;
}

static void not_found(struct fake_call *c)
{
	fake_refuse(c, GRPC_NOT_FOUND, "FILE_NOT_FOUND",
		    "there is no such file");
}

static void stat_file(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(StatFileRequest) *r = (const NODE(StatFileRequest) *)m;
	NODE(StatFileResponse) resp = NODE_INIT(STAT_FILE_RESPONSE);
	NODE(FileInfo) info = NODE_INIT(FILE_INFO);
	char path[8192];

	if (!fake_knows(c, r->sandbox_id))
		return;
	root_path(path, &r->path);
	resp.info = &info;
	if (is_path(&r->path, "/hostile")) {
		info.type = NODE_ENUM(FILE_TYPE, DIRECTORY);
		info.mode = 0755;
	} else if (!fill(&info, path, "x", r->follow_symlinks)) {
		not_found(c);
		return;
	}
	fake_answer(c, &resp.base);
}

static void add(NODE(ListDirectoryResponse) * resp, const char *name,
		size_t len, NODE(FileType) type, const char *target)
{
	NODE(FileInfo) *info = xcalloc(1, sizeof(*info));

	sandbox__node__v1__file_info__init(info);
	info->name.data = xmemdup(name, len + 1);
	info->name.len = len;
	info->type = type;
	info->mode = 06755;
	if (target)
		set_bytes(&info->link_target, target);
	resp->entries[resp->n_entries++] = info;
}

static void list_hostile(struct fake_call *c, const ProtobufCBinaryData *path)
{
	NODE(ListDirectoryResponse) resp = NODE_INIT(LIST_DIRECTORY_RESPONSE);
	NODE(FileInfo) * entries[ENTRIES_MAX];
	const NODE(FileType) file = NODE_ENUM(FILE_TYPE, REGULAR);

	resp.entries = entries;
	if (is_path(path, "/hostile")) {
		add(&resp, "../escaped", 10, file, NULL);
		add(&resp, "..", 2, NODE_ENUM(FILE_TYPE, DIRECTORY), NULL);
		add(&resp, "sub/escaped", 11, file, NULL);
		add(&resp, "", 0, file, NULL);
		add(&resp, "nul\0name", 8, file, NULL);
		add(&resp, "link", 4, NODE_ENUM(FILE_TYPE, SYMLINK),
		    getenv("FAKE_OUTSIDE"));
		add(&resp, "link", 4, NODE_ENUM(FILE_TYPE, DIRECTORY), NULL);
		add(&resp, "device", 6, NODE_ENUM(FILE_TYPE, OTHER), NULL);
		add(&resp, "suid", 4, file, NULL);
		/* Asked for the rest, it begins again: a list without end. */
		resp.has_more = 1;
	} else {
		add(&resp, "escaped", 7, file, NULL);
	}
	fake_answer(c, &resp.base);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Two to a page, so that pages are tested too. */
static void list_directory(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(ListDirectoryRequest) *r =
		(const NODE(ListDirectoryRequest) *)m;
	NODE(ListDirectoryResponse) resp = NODE_INIT(LIST_DIRECTORY_RESPONSE);
	NODE(FileInfo) infos[2], *entries[2] = { &infos[0], &infos[1] };
	struct dirent **found = NULL;
	char dir[8192], path[8500], after[256];
	int n;

	if (!fake_knows(c, r->sandbox_id))
		return;
	if (r->path.len >= 8 && memcmp(r->path.data, "/hostile", 8) == 0) {
		list_hostile(c, &r->path);
		return;
	}
	root_path(dir, &r->path);
	snprintf(after, sizeof(after), "%.*s", (int)r->after_name.len,
		 (const char *)r->after_name.data);
	n = scandir(dir, &found, NULL, by_name);
	if (n < 0) {
		not_found(c);
		return;
	}
	resp.entries = entries;
	for (int i = 0; i < n; i++) {
		const char *name = found[i]->d_name;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    strcmp(name, after) <= 0)
			continue;
		if (resp.n_entries == 2) {
			resp.has_more = 1;
			break;
		}
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		if (fill(&infos[resp.n_entries], path, name, false))
			resp.n_entries++;
	}
	fake_answer(c, &resp.base);
	for (int i = 0; i < n; i++)
		free(found[i]);
	free(found);
}

struct reading {
	int fd;
};

static void more_file(struct fake_call *c)
{
	NODE(ReadFileResponse) resp = NODE_INIT(READ_FILE_RESPONSE);
	struct reading *x = c->state;
	static uint8_t data[65536];
	ssize_t n;

	do {
		n = read(x->fd, data, sizeof(data));
		if (n <= 0) {
			fake_finish(c);
			return;
		}
		resp.data.data = data;
		resp.data.len = (size_t)n;
	} while (fake_send(c, &resp.base) == 0);
}

static void read_file(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(ReadFileRequest) *r = (const NODE(ReadFileRequest) *)m;
	NODE(ReadFileResponse) resp = NODE_INIT(READ_FILE_RESPONSE);
	struct reading *x = xcalloc(1, sizeof(*x));
	char path[8192];

	c->state = x;
	x->fd = -EBADF;
	if (!fake_knows(c, r->sandbox_id))
		return;
	if (r->path.len >= 8 && memcmp(r->path.data, "/hostile", 8) == 0) {
		resp.data = pb_bytes("from the guest");
		fake_answer(c, &resp.base);
		return;
	}
	root_path(path, &r->path);
	x->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (x->fd < 0)
		not_found(c);
	else
		more_file(c);
}

static void read_end(struct fake_call *c)
{
	struct reading *x = c->state;

	if (x && x->fd >= 0)
		close(x->fd);
}

static void write_message(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(WriteFileRequest) *r = (const NODE(WriteFileRequest) *)m;
	struct reading *x = c->state;
	char path[8192];

	if (r->input_case == NODE_CASE(WRITE_FILE_REQUEST__INPUT, START)) {
		c->state = x = xcalloc(1, sizeof(*x));
		x->fd = -EBADF;
		if (!fake_knows(c, r->start->sandbox_id))
			return;
		root_path(path, &r->start->path);
		x->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			     0600);
		if (x->fd < 0) {
			fake_refuse(c, GRPC_PERMISSION_DENIED,
				    "PERMISSION_DENIED", "read-only");
			return;
		}
		if (r->start->mode)
			fchmod(x->fd, r->start->mode->value);
		return;
	}
	if (write(x->fd, r->data.data, r->data.len) < 0)
		abort();
}

static void write_half_close(struct fake_call *c)
{
	NODE(WriteFileResponse) resp = NODE_INIT(WRITE_FILE_RESPONSE);

	fake_answer(c, &resp.base);
}

static void make_directory(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(MakeDirectoryRequest) *r =
		(const NODE(MakeDirectoryRequest) *)m;
	NODE(MakeDirectoryResponse) resp = NODE_INIT(MAKE_DIRECTORY_RESPONSE);
	char path[8192];

	if (!fake_knows(c, r->sandbox_id))
		return;
	root_path(path, &r->path);
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		not_found(c);
		return;
	}
	if (r->mode)
		chmod(path, r->mode->value);
	fake_answer(c, &resp.base);
}

const struct fake_method fake_file_methods[] = {
	{ .name = "StatFile", .message = stat_file },
	{ .name = "ListDirectory", .message = list_directory },
	{ .name = "ReadFile",
	  .message = read_file,
	  .writable = more_file,
	  .end = read_end },
	{ .name = "WriteFile",
	  .message = write_message,
	  .half_close = write_half_close,
	  .end = read_end },
	{ .name = "MakeDirectory", .message = make_directory },
	{ 0 },
};
