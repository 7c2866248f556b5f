/* SPDX-License-Identifier: Apache-2.0 */
/* alloc_fault.c - no memory, once
 *
 * Theory of operation
 * ===================
 *
 * What an executable defines is what its libraries call as well: malloc() is the
 * daemon's (mem_libs.c), and the C library's, which that one calls, is put in
 * between by the linker (--wrap). A way is told by a hash of its return addresses,
 * each as an offset in its module: the same in every run of one build. Looking
 * for them allocates when it is done for the first time, which is why that happens
 * before anything counts, and is not counted in any thread that looks.
 *
 * Children that are between fork() and exec() count nothing: they are not the
 * program. Under sanitizers malloc() is theirs, and this does nothing.
 */
#include "alloc_fault.h"

#include <features.h>

#if !defined(__SANITIZE_ADDRESS__) && defined(__GLIBC__)

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAMES	 12 /* that tell one way from another */
#define SKIPPED	 2  /* look(), and what called it */
#define WAYS_MAX 16384
#define TOLD_MAX 4096
#define TELL_FD	 3

void *__real___libc_malloc(size_t size);
void *__real___libc_calloc(size_t n, size_t size);
void *__real___libc_realloc(void *p, size_t size);
void *__wrap___libc_malloc(size_t size);
void *__wrap___libc_calloc(size_t n, size_t size);
void *__wrap___libc_realloc(void *p, size_t size);

struct way {
	uint64_t hash;
	unsigned long count;
	const char *call;
	int n;
	void *frames[FRAMES];
};

static struct {
	_Atomic bool on;
	bool counting;
	pid_t pid;
	uint64_t hash;	  /* of which one fails */
	unsigned long at; /* that one; 0: none more */
	unsigned long seen, all;
	struct way *ways; /* by hash; count 0: free */
	pthread_mutex_t lock;
} run = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local bool looking;

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t hash_of(void *const *frames, int n)
{
	uint64_t h = 1;

	for (int i = 0; i < n; i++) {
		struct dl_find_object o;
		uintptr_t pc = (uintptr_t)frames[i];

		if (_dl_find_object(frames[i], &o) == 0)
			pc -= (uintptr_t)o.dlfo_link_map->l_addr;
		h = mix(h, pc);
	}
	return h ? h : 1;
}

static int frame_text(void *frame, char *buf, size_t size)
{
	struct dl_find_object o;
	const char *name, *slash;

	if (_dl_find_object(frame, &o) < 0)
		return snprintf(buf, size, " ?");
	name = o.dlfo_link_map->l_name;
	slash = strrchr(name, '/');
	name = slash ? slash + 1 : name;
	return snprintf(buf, size, " %s+%lx", *name ? name : "crash_node",
			(unsigned long)frame -
				(unsigned long)o.dlfo_link_map->l_addr);
}

static void tell(const char *head, void *const *frames, int n)
{
	char text[TOLD_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", head);

	for (int i = 0; i < n && len < sizeof(text) - 80; i++)
		len += (size_t)frame_text(frames[i], text + len, 80);
	text[len++] = '\n';
	for (size_t at = 0; at < len;) {
		ssize_t r = write(TELL_FD, text + at, len - at);

		if (r <= 0)
			return;
		at += (size_t)r;
	}
}

static void count_way(uint64_t hash, const char *call, void *const *frames,
		      int n)
{
	size_t at = hash % WAYS_MAX;

	run.all++;
	for (size_t i = 0; i < WAYS_MAX; i++, at = (at + 1) % WAYS_MAX) {
		struct way *w = &run.ways[at];

		if (w->count && w->hash != hash)
			continue;
		if (!w->count++) {
			w->hash = hash;
			w->call = call;
			w->n = n;
			memcpy(w->frames, frames, (size_t)n * sizeof(*frames));
		}
		return;
	}
	abort(); /* more ways than that */
}

/* Whether this one is to fail. */
static __attribute__((noinline)) bool look(const char *call, size_t size)
{
	void *found[FRAMES + SKIPPED], **frames = found + SKIPPED;
	bool fails = false;
	uint64_t hash;
	int n;

	if (looking || getpid() != run.pid)
		return false;
	looking = true;
	n = backtrace(found, FRAMES + SKIPPED) - SKIPPED;
	n = n < 0 ? 0 : n;
	hash = hash_of(frames, n);
	pthread_mutex_lock(&run.lock);
	if (run.counting)
		count_way(hash, call, frames, n);
	else if (hash == run.hash)
		fails = ++run.seen == run.at;
	pthread_mutex_unlock(&run.lock);
	if (fails) {
		char head[80];

		snprintf(head, sizeof(head), "hit %lu %s %zu", run.at, call,
			 size);
		tell(head, frames, n);
		errno = ENOMEM;
	}
	looking = false;
	return fails;
}

/* ---- the family ---- */

void *__wrap___libc_malloc(size_t size)
{
	return run.on && look("malloc", size) ? NULL :
						__real___libc_malloc(size);
}

void *__wrap___libc_calloc(size_t n, size_t size)
{
	return run.on && look("calloc", n * size) ?
		       NULL :
		       __real___libc_calloc(n, size);
}

void *__wrap___libc_realloc(void *p, size_t size)
{
	return run.on && size && look("realloc", size) ?
		       NULL :
		       __real___libc_realloc(p, size);
}

/* ---- from, and to ---- */

void alloc_fault_begin(void)
{
	const char *what = getenv("CRASH_ALLOC");
	void *warm[2];

	if (!what || run.ways)
		return;
	fcntl(TELL_FD, F_SETFD, FD_CLOEXEC);
	backtrace(warm, 2);
	run.ways = __real___libc_calloc(WAYS_MAX, sizeof(*run.ways));
	run.pid = getpid();
	run.counting = !strcmp(what, "count");
	if (!run.counting && sscanf(what, "%lx:%lu", &run.hash, &run.at) != 2)
		abort();
	run.on = true;
}

void alloc_fault_end(void)
{
	if (!run.on)
		return;
	run.on = false;
	pthread_mutex_lock(&run.lock);
	for (size_t i = 0; run.counting && i < WAYS_MAX; i++) {
		const struct way *w = &run.ways[i];
		char head[80];

		snprintf(head, sizeof(head), "path %lx %lu %s", w->hash,
			 w->count, w->call ? w->call : "");
		if (w->count)
			tell(head, w->frames, w->n);
	}
	if (run.counting)
		dprintf(TELL_FD, "points %lu\n", run.all);
	pthread_mutex_unlock(&run.lock);
}

#else

void alloc_fault_begin(void)
{
}

void alloc_fault_end(void)
{
}

#endif
