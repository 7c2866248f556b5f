/* SPDX-License-Identifier: Apache-2.0 */
/* search_child.c - the process that searches: bounded, and told what by a peer */
#include "search_child.h"

#include "rpc.h"
#include "search.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MEMORY_MAX (256u << 20)
#define NICE	   5

static void limit_self(void)
{
	int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
#ifndef __SANITIZE_ADDRESS__
	struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
	struct rlimit core = { 0, 0 };

	setrlimit(RLIMIT_AS, &memory);
	setrlimit(RLIMIT_CORE, &core);
#endif
	/* The agent's own score protects it: not this. */
	if (oom >= 0 && write(oom, "500", 3) == 3)
		close(oom);
	if (nice(NICE) < 0)
		return;
}

static NODE(SearchFilesRequest) * read_request(void)
{
	_cleanup_free_ uint8_t *data = xcalloc(1, SEARCH_REQUEST_MAX);
	size_t len = 0;
	ssize_t n;

	while (len < SEARCH_REQUEST_MAX &&
	       (n = read(SEARCH_CHILD_FD, data + len,
			 SEARCH_REQUEST_MAX - len)) != 0) {
		if (n < 0 && errno != EINTR)
			return NULL;
		len += n > 0 ? (size_t)n : 0;
	}
	return sandbox__node__v1__search_files_request__unpack(NULL, len, data);
}

static int write_frame(enum search_frame_kind kind, const void *data,
		       size_t len)
{
	struct search_frame f = { .kind = kind, .len = (uint32_t)len };

	if (fd_write_full(SEARCH_CHILD_FD, &f, sizeof(f)) < 0)
		return -1;
	return fd_write_full(SEARCH_CHILD_FD, data, len);
}

static int send_answer(const NODE(SearchFilesResponse) * msg, void *arg)
{
	size_t len = protobuf_c_message_get_packed_size(&msg->base);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	(void)arg;
	protobuf_c_message_pack(&msg->base, data);
	return write_frame(SEARCH_FRAME_ANSWER, data, len);
}

int search_child(void)
{
	NODE(SearchFilesRequest) * rq;
	char path[PATH_MAX];
	struct error err;
	int r;

	limit_self();
	rq = read_request();
	if (!rq || rq->path.len >= sizeof(path))
		return EXIT_FAILURE;
	memcpy(path, rq->path.data, rq->path.len);
	path[rq->path.len] = '\0';
	if (search_tree(rq, path, send_answer, NULL, &err) < 0)
		r = write_frame(SEARCH_FRAME_ERROR, &err, sizeof(err));
	else
		r = write_frame(SEARCH_FRAME_END, "", 0);
	sandbox__node__v1__search_files_request__free_unpacked(rq, NULL);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
