/* SPDX-License-Identifier: Apache-2.0 */
/* process_exit.h - how a process ended, and how that is told
 *
 * No state: any thread.
 */
#ifndef AGENT_PROCESS_EXIT_H
#define AGENT_PROCESS_EXIT_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/node/v1/node.pb-c.h"

struct process_exit {
	uint32_t code;	 /* 128 + signal */
	uint32_t signal; /* 0: by itself */
	uint64_t duration_ms;
	bool timed_out;
};

/* "SIGKILL"; "SIG40" where there is no name. */
#define PROCESS_SIGNAL_SIZE 16

/* As the message @ret, with the signal's name in @signal. */
void process_exit_tell(const struct process_exit *exit,
		       char signal[PROCESS_SIGNAL_SIZE],
		       Sandbox__Node__V1__ProcessExited *ret);

#endif /* AGENT_PROCESS_EXIT_H */
