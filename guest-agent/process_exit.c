/* SPDX-License-Identifier: Apache-2.0 */
/* process_exit.c - how a process ended, and how that is told */
#include "process_exit.h"

#include <stdio.h>
#include <string.h>

void process_exit_tell(const struct process_exit *exit,
		       char signal[PROCESS_SIGNAL_SIZE],
		       Sandbox__Node__V1__ProcessExited *ret)
{
	const char *abbrev;

	sandbox__node__v1__process_exited__init(ret);
	ret->exit_code = exit->code;
	ret->signal = exit->signal;
	ret->duration_ms = exit->duration_ms;
	ret->timed_out = exit->timed_out;
	if (!exit->signal)
		return;
	abbrev = sigabbrev_np((int)exit->signal);
	if (abbrev)
		snprintf(signal, PROCESS_SIGNAL_SIZE, "SIG%s", abbrev);
	else
		snprintf(signal, PROCESS_SIGNAL_SIZE, "SIG%u", exit->signal);
	ret->signal_name = signal;
}
