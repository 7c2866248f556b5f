/* SPDX-License-Identifier: Apache-2.0 */
/* search.c - finding text in a tree
 *
 * Directories are read in name order, links and what is no regular file passed
 * over, as are files with a NUL byte near their begin (binary) and the kernel's
 * own file systems. Of each line the first match is told.
 */
#include "search.h"

#include "agent.h"
#include "file_path.h"
#include "rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>

#define DEPTH_MAX   256
#define BUFFER_SIZE (1u << 20) /* a longer line is searched in pieces */
#define BINARY_PEEK 8192u
#define BATCH_MAX   64u
#define BATCH_MS    100

struct search {
	const NODE(SearchFilesRequest) * rq;
	int (*send)(const NODE(SearchFilesResponse) * msg, void *arg);
	void *arg;
	char *pattern;
	char *glob; /* NULL: all */
	regex_t regex;
	uint32_t max, found;
	bool stop, truncated;
	NODE(SearchMatch) batch[BATCH_MAX];
	size_t n_batch;
	struct timespec sent;
	char *buf;
};

static void flush(struct search *s, bool last)
{
	NODE(SearchFilesResponse) msg = NODE_INIT(SEARCH_FILES_RESPONSE);
	NODE(SearchMatch) * list[BATCH_MAX];

	if (s->n_batch || (last && s->truncated)) {
		for (size_t i = 0; i < s->n_batch; i++)
			list[i] = &s->batch[i];
		msg.matches = list;
		msg.n_matches = s->n_batch;
		msg.truncated = last && s->truncated;
		if (!s->stop || last)
			s->stop |= s->send(&msg, s->arg) != 0;
	}
	for (; s->n_batch; s->n_batch--) {
		free(s->batch[s->n_batch - 1].path.data);
		free(s->batch[s->n_batch - 1].line.data);
	}
	clock_gettime(CLOCK_MONOTONIC, &s->sent);
}

static void flush_if_old(struct search *s)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - s->sent.tv_sec) * 1000 +
		    (now.tv_nsec - s->sent.tv_nsec) / 1000000 >=
	    BATCH_MS)
		flush(s, false);
}

static ProtobufCBinaryData copy_of(const char *p, size_t len)
{
	return (ProtobufCBinaryData){ .len = len, .data = xmemdup(p, len) };
}

static void found(struct search *s, const char *path, uint32_t number,
		  const char *line, size_t len, size_t column)
{
	NODE(SearchMatch) *m = &s->batch[s->n_batch++];

	*m = (NODE(SearchMatch))NODE_INIT(SEARCH_MATCH);
	if (len > SEARCH_LINE_MAX)
		len = SEARCH_LINE_MAX;
	m->path = copy_of(path, strlen(path));
	m->line = copy_of(line, len);
	m->line_number = number;
	m->column = (uint32_t)column + 1;
	if (s->n_batch == BATCH_MAX)
		flush(s, false);
	if (++s->found >= s->max)
		s->stop = s->truncated = true;
}

/* @line has a NUL behind it and none within. -1, or where the match is. */
static ssize_t match(struct search *s, const char *line)
{
	regmatch_t m;
	const char *p;

	if (s->rq->literal) {
		p = s->rq->ignore_case ? strcasestr(line, s->pattern)
				       : strstr(line, s->pattern);
		return p ? p - line : -1;
	}
	return regexec(&s->regex, line, 1, &m, 0) == 0 ? m.rm_so : -1;
}

static void search_line(struct search *s, const char *path, uint32_t number,
			char *line, size_t len)
{
	char saved = line[len];
	ssize_t column;

	line[len] = '\0';
	/* A stray NUL hides the rest of its line only. */
	column = match(s, line);
	line[len] = saved;
	if (column >= 0)
		found(s, path, number, line, len, (size_t)column);
}

static void search_fd(struct search *s, int fd, const char *path)
{
	size_t held = 0;
	uint32_t number = 1;
	bool first = true;

	while (!s->stop) {
		ssize_t n = read(fd, s->buf + held, BUFFER_SIZE - held);
		size_t at = 0;
		char *nl;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		held += (size_t)n;
		if (first && memchr(s->buf, '\0',
				    held < BINARY_PEEK ? held : BINARY_PEEK))
			return;
		first = false;
		while (!s->stop &&
		       (nl = memchr(s->buf + at, '\n', held - at))) {
			search_line(s, path, number++, s->buf + at,
				    (size_t)(nl - s->buf) - at);
			at = (size_t)(nl - s->buf) + 1;
		}
		held -= at;
		memmove(s->buf, s->buf + at, held);
		if (held && !s->stop && (n == 0 || held == BUFFER_SIZE)) {
			search_line(s, path, number, s->buf, held);
			held = 0;
		}
		if (n == 0)
			return;
	}
}

static void search_file(struct search *s, int dir, const char *name,
			const char *path)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (s->glob && fnmatch(s->glob, name, 0) != 0)
		return;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	search_fd(s, fd, path);
	flush_if_old(s);
}

static bool is_kernels(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return true;
	switch ((unsigned long)fs.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
		return true;
	default:
		return false;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names, sorted, each the caller's. Consumes @dir. */
static char **read_names(DIR *dir, size_t *ret_n)
{
	size_t n = 0, room = 0;
	struct dirent *de;
	char **names = NULL;

	while ((de = readdir(dir))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") ||
		    (de->d_type != DT_REG && de->d_type != DT_DIR &&
		     de->d_type != DT_UNKNOWN))
			continue;
		if (n == room) {
			room = room ? room * 2 : 64;
			names = xrealloc(names, room, sizeof(char *));
		}
		names[n++] = xstrdup(de->d_name);
	}
	if (n)
		qsort(names, n, sizeof(char *), by_name);
	*ret_n = n;
	return names;
}

static void search_directory(struct search *s, int fd, const char *path,
			     int depth)
{
	DIR *dir = is_kernels(fd) ? NULL : fdopendir(dup(fd));
	size_t n = 0;
	char **names = dir ? read_names(dir, &n) : NULL;

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *name = names[i];
		_cleanup_free_ char *child = NULL;
		_cleanup_close_ int sub = -EBADF;

		if (s->stop)
			continue;
		child = *path ? xasprintf("%s/%s", path, name) : xstrdup(name);
		sub = openat(fd, name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			search_file(s, fd, name, child);
		else if (depth < DEPTH_MAX)
			search_directory(s, sub, child, depth + 1);
		else
			s->truncated = true;
	}
	free(names);
	if (dir)
		closedir(dir);
}

static char *string_of(const ProtobufCBinaryData *b)
{
	char *s = xcalloc(1, b->len + 1);

	if (b->len)
		memcpy(s, b->data, b->len);
	return s;
}

static int prepare(struct search *s, struct error *err)
{
	char text[160];
	int r;

	s->pattern = string_of(&s->rq->pattern);
	if (s->rq->file_glob.len)
		s->glob = string_of(&s->rq->file_glob);
	s->max = s->rq->max_matches ? s->rq->max_matches
				    : SEARCH_MATCHES_DEFAULT;
	s->buf = xcalloc(1, BUFFER_SIZE + 1);
	clock_gettime(CLOCK_MONOTONIC, &s->sent);
	if (s->rq->literal)
		return 0;
	r = regcomp(&s->regex, s->pattern,
		    REG_EXTENDED | (s->rq->ignore_case ? REG_ICASE : 0));
	if (r == 0)
		return 0;
	regerror(r, NULL, text, sizeof(text));
	return err_field(err, "pattern", "%s", text);
}

int search_tree(const NODE(SearchFilesRequest) * rq, const char *path,
		int (*send)(const NODE(SearchFilesResponse) * msg, void *arg),
		void *arg, struct error *err)
{
	struct search *s = xcalloc(1, sizeof(*s));
	_cleanup_close_ int fd = -EBADF;
	char quoted[FILE_QUOTE_MAX];
	int r;

	s->rq = rq;
	s->send = send;
	s->arg = arg;
	r = prepare(s, err);
	if (r == 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0) {
			search_directory(s, fd, "", 0);
		} else if (errno == ENOTDIR && access(path, F_OK) == 0) {
			search_file(s, AT_FDCWD, path, "");
		} else {
			r = agent_file_error(err, errno, "search '%s'",
					     file_quote(quoted, path));
		}
		flush(s, true);
		if (!rq->literal)
			regfree(&s->regex);
	}
	free(s->pattern);
	free(s->glob);
	free(s->buf);
	free(s);
	return r;
}
