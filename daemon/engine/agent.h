/* SPDX-License-Identifier: Apache-2.0 */
/* agent.h - how the agents in the guests of sandboxes are, and what is told
 *
 * A problem shows in the sandbox at once, and as one event; another event tells
 * when it is over. What is not known any more when the daemon starts again is
 * found out again.
 */
#ifndef ENGINE_AGENT_H
#define ENGINE_AGENT_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct sandbox;

/* A link that lasted for so long was no failure. */
#define AGENT_STEADY_MS 30000u

#define AGENT_WHY_SIZE 160

/* node.proto's AgentState. */
enum agent_state {
	AGENT_NONE = 0,
	AGENT_WELL,
	AGENT_CONNECTING,
	AGENT_SILENT,
	AGENT_BROKEN,
};

/**
 * struct agent - Of one sandbox; agent.c's
 * @linked_ms:	When front began to speak to it, monotonic; 0: it does not
 * @failures:	Attaches that failed, and links that did not last, in a row
 * @told_ms:	When its problem was told; 0: it has none, or it is not told yet
 * @over_ms:	When the last problem was over; 0: there was none
 * @why:	What is broken
 */
struct agent {
	bool silent, broken;
	unsigned int failures;
	uint64_t linked_ms, told_ms, over_ms;
	char why[AGENT_WHY_SIZE];
};

/* A guest was started: its agent is another. */
void agent_begin(struct sandbox *sb);
/* Front speaks to it; front does not any more, by no fault of the agent. */
void agent_linked(struct sandbox *sb);
void agent_unlinked(struct sandbox *sb);
/* It could not be reached. How long to wait before the next try. */
uint64_t agent_unreachable(struct sandbox *sb, const struct error *err);
/* Its link ended by itself; likewise. 0: at once. */
uint64_t agent_lost(struct sandbox *sb, const char *why, bool broken);
/* It does not answer, or does again; its link stands. */
void agent_hushed(struct sandbox *sb, bool silent);

enum agent_state agent_state_of(const struct sandbox *sb);
/* "" or what is wrong, a sentence. */
const char *agent_problem(const struct sandbox *sb);

#endif /* ENGINE_AGENT_H */
