/* SPDX-License-Identifier: Apache-2.0 */
/* search.h - finding text in a tree
 *
 * Runs in a process of its own (search_task() makes it): a regular expression
 * can need any time and memory, and PID 1 has nobody to die for it.
 */
#ifndef AGENT_SEARCH_H
#define AGENT_SEARCH_H

#include "sandbox/node/v1/node.pb-c.h"

#include <stdbool.h>

struct error;

#define SEARCH_PATTERN_MAX     1024u
#define SEARCH_MATCHES_DEFAULT 1000u
#define SEARCH_MATCHES_MAX     10000u
#define SEARCH_LINE_MAX	       512u

/**
 * search_tree() - Search
 * @rq:		Valid
 * @path:	Absolute; a directory, or one file
 * @send:	Takes an answer; not 0: stop
 *
 * Return: 0, or -1 with *@err set
 */
int search_tree(const Sandbox__Node__V1__SearchFilesRequest *rq,
		const char *path,
		int (*send)(const Sandbox__Node__V1__SearchFilesResponse *msg,
			    void *arg),
		void *arg, struct error *err);

#endif /* AGENT_SEARCH_H */
