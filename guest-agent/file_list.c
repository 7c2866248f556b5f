/* SPDX-License-Identifier: Apache-2.0 */
/* file_list.c - ListDirectory and MakeDirectory
 *
 * A page of a directory of any size is found in one walk that keeps the
 * smallest names behind after_name, in a heap whose root is the largest: memory
 * is the page's, not the directory's.
 */
#include "agent.h"
#include "file_path.h"
#include "rpc.h"
#include "task.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_DEFAULT 1000u
#define LIMIT_MAX     10000u
/* Of one answer, well under a message's limit. */
#define PAGE_BYTES_MAX (3u << 20)
#define ENTRY_BYTES    64u /* of all but name and link target, at most */
#define MODE_DEFAULT   0755u

struct heap {
	char **names;
	size_t n, max;
	bool overflowed; /* there are more names than kept */
};

static void sift_down(struct heap *h, size_t i)
{
	for (;;) {
		size_t child = 2 * i + 1;
		char *tmp;

		if (child >= h->n)
			return;
		if (child + 1 < h->n &&
		    strcmp(h->names[child + 1], h->names[child]) > 0)
			child++;
		if (strcmp(h->names[i], h->names[child]) >= 0)
			return;
		tmp = h->names[i];
		h->names[i] = h->names[child];
		h->names[child] = tmp;
		i = child;
	}
}

static void sift_up(struct heap *h, size_t i)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;
		char *tmp = h->names[i];

		if (strcmp(h->names[parent], tmp) >= 0)
			return;
		h->names[i] = h->names[parent];
		h->names[parent] = tmp;
		i = parent;
	}
}

static void heap_offer(struct heap *h, const char *name)
{
	if (h->n < h->max) {
		h->names[h->n++] = xstrdup(name);
		sift_up(h, h->n - 1);
		return;
	}
	h->overflowed = true;
	if (strcmp(name, h->names[0]) >= 0)
		return;
	free(h->names[0]);
	h->names[0] = xstrdup(name);
	sift_down(h, 0);
}

/* The heap becomes a list in order. */
static void heap_sort(struct heap *h)
{
	size_t n = h->n;

	while (h->n > 1) {
		char *tmp = h->names[0];

		h->names[0] = h->names[--h->n];
		h->names[h->n] = tmp;
		sift_down(h, 0);
	}
	h->n = n;
}

static void heap_fini(struct heap *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->names[i]);
	free(h->names);
}

/* False: the call is over. */
static bool collect(struct task *t, DIR *dir, const char *after, struct heap *h)
{
	struct dirent *de;

	for (unsigned int i = 0; (de = readdir(dir)); i++) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (strcmp(de->d_name, after) > 0)
			heap_offer(h, de->d_name);
		if (i % 4096 == 0 && task_cancelled(t))
			return false;
	}
	return true;
}

static void send_page(struct task *t, int fd, const struct heap *h)
{
	NODE(ListDirectoryResponse) msg = NODE_INIT(LIST_DIRECTORY_RESPONSE);
	struct file_info *infos = xcalloc(h->n, sizeof(*infos));
	NODE(FileInfo) **list = xcalloc(h->n, sizeof(NODE(FileInfo) *));
	size_t bytes = 0;

	msg.entries = list;
	msg.has_more = h->overflowed;
	for (size_t i = 0; i < h->n; i++) {
		struct file_info *info = &infos[msg.n_entries];
		struct stat st;

		/* Removed meanwhile: not an entry any more. */
		if (fstatat(fd, h->names[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		file_info_fill(info, &st, h->names[i], fd, h->names[i]);
		bytes += ENTRY_BYTES + info->msg.name.len +
			 info->msg.link_target.len;
		if (bytes > PAGE_BYTES_MAX && msg.n_entries > 0) {
			file_info_fini(info);
			msg.has_more = true;
			break;
		}
		list[msg.n_entries++] = &info->msg;
	}
	task_send(t, &msg.base);
	for (size_t i = 0; i < msg.n_entries; i++)
		file_info_fini(&infos[i]);
	free(infos);
	free(list);
}

static int list_directory(struct task *t, const NODE(ListDirectoryRequest) * rq,
			  struct error *err)
{
	_cleanup_free_ char *path = xcalloc(1, PATH_MAX);
	char after[NAME_MAX + 1] = "";
	char quoted[FILE_QUOTE_MAX];
	struct heap h = { 0 };
	DIR *dir;
	int fd;

	if (file_take_path(t, &rq->path, "path", path, err) < 0)
		return -1;
	if (rq->limit > LIMIT_MAX)
		return err_field(err, "limit", "must be 1 to %u", LIMIT_MAX);
	if (rq->after_name.len > NAME_MAX)
		return err_field(err, "after_name", "longer than %d bytes",
				 NAME_MAX);
	if (rq->after_name.len)
		memcpy(after, rq->after_name.data, rq->after_name.len);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOTDIR)
		return err_field(err, "path", "'%s' is no directory",
				 file_quote(quoted, path));
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return agent_file_error(err, errno, "list '%s'",
					file_quote(quoted, path));
	h.max = rq->limit ? rq->limit : LIMIT_DEFAULT;
	h.names = xcalloc(h.max, sizeof(char *));
	if (collect(t, dir, after, &h)) {
		heap_sort(&h);
		send_page(t, fd, &h);
	}
	heap_fini(&h);
	closedir(dir);
	return 0;
}

int file_list_task(struct task *t, struct error *err)
{
	NODE(ListDirectoryRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__list_directory_request__descriptor, err);
	if (!rq)
		return -1;
	r = list_directory(t, rq, err);
	sandbox__node__v1__list_directory_request__free_unpacked(rq, NULL);
	return r;
}

static int make_directory(struct task *t, const NODE(MakeDirectoryRequest) * rq,
			  struct error *err)
{
	NODE(MakeDirectoryResponse) msg = NODE_INIT(MAKE_DIRECTORY_RESPONSE);
	_cleanup_free_ char *path = xcalloc(1, PATH_MAX);
	mode_t mode = rq->mode ? rq->mode->value : MODE_DEFAULT;
	char quoted[FILE_QUOTE_MAX];
	struct file_owner owner;

	if (file_take_path(t, &rq->path, "path", path, err) < 0)
		return -1;
	if (rq->mode && rq->mode->value > 07777)
		return err_field(err, "mode", "must be 0 to 07777");
	if (file_default_owner(t, &owner.uid, &owner.gid, err) < 0)
		return -1;
	if (rq->make_parents) {
		if (file_make_directories(path, mode, &owner, err) < 0)
			return -1;
	} else if (mkdir(path, mode) < 0 ||
		   chown(path, owner.uid, owner.gid) < 0 ||
		   chmod(path, mode) < 0) {
		return agent_file_error(err, errno, "make '%s'",
					file_quote(quoted, path));
	}
	task_send(t, &msg.base);
	return 0;
}

int file_mkdir_task(struct task *t, struct error *err)
{
	NODE(MakeDirectoryRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__make_directory_request__descriptor, err);
	if (!rq)
		return -1;
	r = make_directory(t, rq, err);
	sandbox__node__v1__make_directory_request__free_unpacked(rq, NULL);
	return r;
}
