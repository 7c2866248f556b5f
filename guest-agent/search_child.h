/* SPDX-License-Identifier: Apache-2.0 */
/* search_child.h - the process that searches, and what it says
 *
 * On SEARCH_CHILD_FD it reads a SearchFilesRequest with an absolute path, up to
 * the end, and writes frames: any number of answers (SearchFilesResponse), then
 * an error or the end. Both ends are one program: frames are in its byte order.
 */
#ifndef AGENT_SEARCH_CHILD_H
#define AGENT_SEARCH_CHILD_H

#include <stdint.h>

#define SEARCH_CHILD_ARG   "--search"
#define SEARCH_CHILD_FD	   3
#define SEARCH_REQUEST_MAX (64u << 10)
#define SEARCH_FRAME_MAX   (1u << 20)

enum search_frame_kind {
	SEARCH_FRAME_ANSWER = 1,
	SEARCH_FRAME_ERROR, /* a struct error */
	SEARCH_FRAME_END,
};

struct search_frame {
	uint32_t kind;
	uint32_t len; /* bytes that follow, to SEARCH_FRAME_MAX */
};

/* The whole process, with limits of its own. Return: its exit status */
int search_child(void);

#endif /* AGENT_SEARCH_CHILD_H */
