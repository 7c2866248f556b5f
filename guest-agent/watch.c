/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - WatchDirectory
 *
 * Theory of operation
 *
 * inotify knows directories by number and tells names; we keep number -> path.
 * Below a new directory things may appear before it is watched. So it is
 * watched first and read after: what is found then is told as created, and the
 * event for the same name, if there is one too, is dropped (struct seen).
 *
 * The two halves of a move come one after the other; a first half without its
 * second one went out of the tree.
 *
 * When the kernel's queue overflows, or there are more directories than we
 * watch, the client is told OVERFLOW: it must look itself.
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
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WATCHES_MAX	16u   /* calls at once */
#define DIRECTORIES_MAX 8192u /* of one call */
#define DEPTH_MAX	256u  /* what a thread's stack is good for */
#define SEEN_MAX	4096u
#define PAIR_WAIT_MS	20 /* for the second half of a move */
#define EVENTS                                                                 \
	(IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |     \
	 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_EXCL_UNLINK |          \
	 IN_ONLYDIR)

#define TYPE(name) SANDBOX__NODE__V1__FILE_EVENT_TYPE__FILE_EVENT_TYPE_##name

static atomic_uint watches;

struct directory {
	int wd;
	char *path; /* relative to the top, "" is it */
};

struct seen {
	int wd;
	char *name;
};

struct watch {
	struct task *task;
	int fd;
	char top[PATH_MAX];
	bool recursive;
	bool too_many;
	bool gone;		/* the client or the top is */
	struct directory *dirs; /* by wd */
	size_t n_dirs;
	struct seen *seen;
	size_t n_seen;
	/* The first half of a move: */
	char *moved_from;
	uint32_t cookie;
	bool moved_dir;
};

static char *join(const char *dir, const char *name)
{
	return *dir && *name ? xasprintf("%s/%s", dir, name)
			     : xstrdup(*dir ? dir : name);
}

/* ---- to the client ---- */

static void send_event(struct watch *w, int type, const char *path,
		       const char *to, int file_type)
{
	NODE(WatchDirectoryResponse) msg = NODE_INIT(WATCH_DIRECTORY_RESPONSE);

	msg.type = (NODE(FileEventType))type;
	msg.path.data = (uint8_t *)path;
	msg.path.len = strlen(path);
	if (to) {
		msg.to_path.data = (uint8_t *)to;
		msg.to_path.len = strlen(to);
	}
	msg.file_type = (NODE(FileType))file_type;
	if (task_send(w->task, &msg.base) < 0)
		w->gone = true;
}

static int type_at(struct watch *w, const char *path, bool is_dir)
{
	_cleanup_free_ char *full = join(w->top, path);
	struct stat st;

	if (is_dir)
		return SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	return lstat(full, &st) == 0 ? file_type_of(st.st_mode) : 0;
}

/* ---- the directories watched ---- */

/* Where @wd is or would be. */
static size_t find(const struct watch *w, int wd)
{
	size_t lo = 0, hi = w->n_dirs;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (w->dirs[mid].wd < wd)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const char *path_of(const struct watch *w, int wd)
{
	size_t i = find(w, wd);

	return i < w->n_dirs && w->dirs[i].wd == wd ? w->dirs[i].path : NULL;
}

static void forget(struct watch *w, size_t i)
{
	free(w->dirs[i].path);
	memmove(&w->dirs[i], &w->dirs[i + 1],
		(--w->n_dirs - i) * sizeof(*w->dirs));
}

/* Consumes @path. */
static void remember(struct watch *w, int wd, char *path)
{
	size_t i = find(w, wd);

	if (i < w->n_dirs && w->dirs[i].wd == wd) {
		free(w->dirs[i].path);
		w->dirs[i].path = path;
		return;
	}
	memmove(&w->dirs[i + 1], &w->dirs[i],
		(w->n_dirs++ - i) * sizeof(*w->dirs));
	w->dirs[i] = (struct directory){ .wd = wd, .path = path };
}

/* @path is @dir or below it. */
static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) &&
	       (path[len] == '\0' || path[len] == '/');
}

static void rename_below(struct watch *w, const char *from, const char *to)
{
	for (size_t i = 0; i < w->n_dirs; i++) {
		char *old = w->dirs[i].path;

		if (!is_below(old, from))
			continue;
		w->dirs[i].path = xasprintf("%s%s", to, old + strlen(from));
		free(old);
	}
}

static void drop_below(struct watch *w, const char *path)
{
	for (size_t i = w->n_dirs; i-- > 0;)
		if (w->dirs[i].path[0] && is_below(w->dirs[i].path, path)) {
			inotify_rm_watch(w->fd, w->dirs[i].wd);
			forget(w, i);
		}
}

static void note_seen(struct watch *w, int wd, const char *name)
{
	if (w->n_seen == SEEN_MAX)
		return;
	w->seen[w->n_seen++] = (struct seen){ wd, xstrdup(name) };
}

static void clear_seen(struct watch *w)
{
	while (w->n_seen)
		free(w->seen[--w->n_seen].name);
}

static bool was_seen(struct watch *w, int wd, const char *name)
{
	for (size_t i = 0; i < w->n_seen; i++) {
		if (w->seen[i].wd != wd || strcmp(w->seen[i].name, name) != 0)
			continue;
		free(w->seen[i].name);
		w->seen[i] = w->seen[--w->n_seen];
		return true;
	}
	return false;
}

static void add_tree(struct watch *w, const char *path, bool tell);

/* The entries of a directory just watched. */
static void read_directory(struct watch *w, int wd, const char *full,
			   const char *path, bool tell)
{
	DIR *dir = opendir(full);
	char **subs = NULL;
	size_t n_subs = 0;
	struct dirent *de;

	while (dir && !w->gone && (de = readdir(dir))) {
		_cleanup_free_ char *child = NULL;
		int type;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		child = join(path, de->d_name);
		type = type_at(w, child, de->d_type == DT_DIR);
		if (tell) {
			note_seen(w, wd, de->d_name);
			send_event(w, TYPE(CREATED), child, NULL, type);
		}
		if (type != SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_DIRECTORY)
			continue;
		subs = xrealloc(subs, n_subs + 1, sizeof(char *));
		subs[n_subs++] = TAKE_PTR(child);
	}
	if (dir)
		closedir(dir);
	for (size_t i = 0; i < n_subs; i++) {
		if (!w->gone)
			add_tree(w, subs[i], tell);
		free(subs[i]);
	}
	free(subs);
}

static unsigned int depth_of(const char *path)
{
	unsigned int n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* Watch a directory below the top, and those below it. */
static void add_tree(struct watch *w, const char *path, bool tell)
{
	_cleanup_free_ char *full = join(w->top, path);
	int wd;

	if (task_cancelled(w->task)) {
		w->gone = true;
		return;
	}
	if (w->n_dirs >= DIRECTORIES_MAX || depth_of(path) > DEPTH_MAX) {
		w->too_many = true;
		return;
	}
	wd = inotify_add_watch(w->fd, full, EVENTS | IN_DONT_FOLLOW);
	if (wd < 0) {
		w->too_many = w->too_many || errno == ENOSPC;
		return;
	}
	remember(w, wd, xstrdup(path));
	read_directory(w, wd, full, path, tell);
}

static void tell_too_many(struct watch *w)
{
	if (w->too_many && !w->gone)
		send_event(w, TYPE(OVERFLOW), "", NULL, 0);
	w->too_many = false;
}

/* ---- events ---- */

static void flush_move(struct watch *w)
{
	_cleanup_free_ char *from = TAKE_PTR(w->moved_from);

	if (!from)
		return;
	if (w->moved_dir)
		drop_below(w, from);
	send_event(w, TYPE(REMOVED), from, NULL,
		   w->moved_dir
			   ? SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_DIRECTORY
			   : 0);
}

static void on_created(struct watch *w, const struct inotify_event *ev,
		       const char *path)
{
	bool is_dir = ev->mask & IN_ISDIR;

	if (was_seen(w, ev->wd, ev->name))
		return;
	send_event(w, TYPE(CREATED), path, NULL, type_at(w, path, is_dir));
	if (is_dir && w->recursive) {
		add_tree(w, path, true);
		tell_too_many(w);
	}
}

static void on_moved_to(struct watch *w, const struct inotify_event *ev,
			const char *path)
{
	_cleanup_free_ char *from = NULL;

	if (!w->moved_from || w->cookie != ev->cookie) {
		flush_move(w);
		on_created(w, ev, path);
		return;
	}
	from = TAKE_PTR(w->moved_from);
	if (w->moved_dir)
		rename_below(w, from, path);
	send_event(w, TYPE(MOVED), from, path,
		   type_at(w, path, ev->mask & IN_ISDIR));
}

static void on_overflow(struct watch *w)
{
	send_event(w, TYPE(OVERFLOW), "", NULL, 0);
	if (w->recursive)
		add_tree(w, "", false);
	w->too_many = false;
}

static void on_self(struct watch *w, const struct inotify_event *ev,
		    const char *dir)
{
	/* Of others their parent tells. */
	if (*dir || !(ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF)))
		return;
	send_event(w, TYPE(REMOVED), "", NULL,
		   SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_DIRECTORY);
	w->gone = true;
}

static void on_event(struct watch *w, const struct inotify_event *ev)
{
	const char *dir = path_of(w, ev->wd);
	_cleanup_free_ char *path = NULL;
	bool is_dir = ev->mask & IN_ISDIR;

	if (ev->mask & IN_Q_OVERFLOW) {
		on_overflow(w);
		return;
	}
	if (!dir)
		return;
	if (!(ev->mask & IN_MOVED_TO))
		flush_move(w);
	if (ev->mask & IN_IGNORED) {
		forget(w, find(w, ev->wd));
		return;
	}
	if (ev->len == 0) {
		on_self(w, ev, dir);
		return;
	}
	path = join(dir, ev->name);
	if (ev->mask & IN_CREATE) {
		on_created(w, ev, path);
	} else if (ev->mask & IN_MOVED_TO) {
		on_moved_to(w, ev, path);
	} else if (ev->mask & IN_MOVED_FROM) {
		w->moved_from = TAKE_PTR(path);
		w->cookie = ev->cookie;
		w->moved_dir = is_dir;
	} else if (ev->mask & IN_DELETE) {
		send_event(
			w, TYPE(REMOVED), path, NULL,
			is_dir ? SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_DIRECTORY
			       : 0);
	} else if (ev->mask & IN_MODIFY) {
		send_event(w, TYPE(MODIFIED), path, NULL,
			   type_at(w, path, is_dir));
	} else if (ev->mask & IN_ATTRIB) {
		send_event(w, TYPE(ATTRIBUTES), path, NULL,
			   type_at(w, path, is_dir));
	}
}

/* Read what there is. */
static void take_events(struct watch *w)
{
	char buf[16384] __attribute__((aligned(8)));
	ssize_t n = read(w->fd, buf, sizeof(buf));

	for (ssize_t at = 0; at < n && !w->gone;) {
		const struct inotify_event *ev = (void *)(buf + at);

		on_event(w, ev);
		at += (ssize_t)(sizeof(*ev) + ev->len);
	}
}

static void run(struct watch *w)
{
	struct pollfd p[2] = {
		{ .fd = w->fd, .events = POLLIN },
		{ .fd = task_cancel_fd(w->task), .events = POLLIN },
	};

	while (!w->gone) {
		int n = poll(p, 2, w->moved_from ? PAIR_WAIT_MS : 0);

		if (n == 0) {
			/* The queue is empty: no event is left whose name we
			 * told before.
			 */
			flush_move(w);
			clear_seen(w);
			n = poll(p, 2, -1);
		}
		if (p[1].revents)
			w->gone = true;
		else if (p[0].revents)
			take_events(w);
		else if (n < 0 && errno != EINTR)
			return;
	}
}

static int watch_top(struct watch *w, struct error *err)
{
	char quoted[FILE_QUOTE_MAX];
	int wd;

	file_quote(quoted, w->top);
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd < 0)
		return agent_file_error(err, errno, "watch '%s'", quoted);
	wd = inotify_add_watch(w->fd, w->top, EVENTS);
	if (wd < 0 && errno == ENOTDIR && access(w->top, F_OK) == 0)
		return err_field(err, "path", "'%s' is no directory", quoted);
	if (wd < 0)
		return agent_file_error(err, errno, "watch '%s'", quoted);
	remember(w, wd, xstrdup(""));
	if (w->recursive)
		read_directory(w, wd, w->top, "", false);
	return 0;
}

static void watch_free(struct watch *w)
{
	clear_seen(w);
	while (w->n_dirs)
		forget(w, w->n_dirs - 1);
	free(w->seen);
	free(w->dirs);
	free(w->moved_from);
	fd_close(&w->fd);
	free(w);
}

static int watch(struct task *t, const NODE(WatchDirectoryRequest) * rq,
		 struct error *err)
{
	struct watch *w = xcalloc(1, sizeof(*w));
	int r;

	w->task = t;
	w->fd = -EBADF;
	w->recursive = rq->recursive;
	w->dirs = xcalloc(DIRECTORIES_MAX + 1, sizeof(*w->dirs));
	w->seen = xcalloc(SEEN_MAX, sizeof(*w->seen));
	r = file_take_path(t, &rq->path, "path", w->top, err);
	if (r == 0)
		r = watch_top(w, err);
	if (r == 0) {
		send_event(w, TYPE(READY), "", NULL, 0);
		tell_too_many(w);
		run(w);
	}
	watch_free(w);
	return r;
}

int watch_task(struct task *t, struct error *err)
{
	NODE(WatchDirectoryRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__watch_directory_request__descriptor,
		err);
	if (!rq)
		return -1;
	if (atomic_fetch_add(&watches, 1) >= WATCHES_MAX)
		r = err_set(err, ERR_LIMIT, "%u watches run already",
			    WATCHES_MAX);
	else
		r = watch(t, rq, err);
	atomic_fetch_sub(&watches, 1);
	sandbox__node__v1__watch_directory_request__free_unpacked(rq, NULL);
	return r;
}
