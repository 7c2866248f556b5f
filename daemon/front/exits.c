/* SPDX-License-Identifier: Apache-2.0 */
/* exits.c - how processes in guests end, for the event log */
#include "front/exits.h"

#include "base/error.h"
#include "base/loop.h"
#include "front/check.h"
#include "front/front.h"
#include "front/label.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ENDS_MAX    64
#define PROGRAM_MAX 256

void exits_event(struct front *front, const char *sandbox_id,
		 const char *program, uint32_t pid,
		 const Sandbox__Node__V1__ProcessExited *exited)
{
	char number[16], code[16], signal[16], duration[24];
	struct engine_pair data[] = {
		{ "command", program },
		{ "pid", number },
		{ "exitCode", code },
		{ "signal", signal },
		{ "durationMs", duration },
		{ "timedOut", exited->timed_out ? "true" : "false" },
	};

	snprintf(number, sizeof(number), "%u", pid);
	snprintf(code, sizeof(code), "%u", exited->exit_code);
	snprintf(signal, sizeof(signal), "%u", exited->signal);
	snprintf(duration, sizeof(duration), "%" PRIu64, exited->duration_ms);
	engine_event(front->engine, sandbox_id, "exec.completed", data,
		     sizeof(data) / sizeof(data[0]));
}

/* One that this link has not begun: of a front before this one, or a lie. */
static bool may_stray(struct front *front)
{
	uint64_t now = loop_now_ms();
	uint64_t more = (now - front->stray_ms) * EXITS_STRAY_RATE / 1000;

	if (!front->stray_ms || more > EXITS_STRAY_BURST - front->strays) {
		front->strays = EXITS_STRAY_BURST;
		front->stray_ms = now;
	} else if (more) {
		front->strays += (unsigned int)more;
		front->stray_ms = now;
	}
	if (!front->strays)
		return false;
	front->strays--;
	return true;
}

static int check(const Sandbox__Agent__V1__ProcessEnded *m,
		 const struct exits_link *link, struct error *err)
{
	if (m->sequence <= link->acked || !m->exited)
		return err_set(err, ERR_INVALID, "an end told twice, or half");
	if (check_bytes(&m->program, PROGRAM_MAX, false, "program", err) < 0)
		return -1;
	return check_exited(m->exited, err);
}

int exits_report(struct front *front, const char *sandbox_id,
		 struct exits_link *link,
		 const Sandbox__Agent__V1__NextExitsResponse *m,
		 struct error *err)
{
	char program[LABEL_MAX];

	if (m->n_exits == 0 || m->n_exits > ENDS_MAX)
		return err_set(err, ERR_INVALID, "no ends, or too many");
	for (size_t i = 0; i < m->n_exits; i++) {
		const Sandbox__Agent__V1__ProcessEnded *ended = m->exits[i];

		if (check(ended, link, err) < 0)
			return -1;
		link->acked = ended->sequence;
		if (link->begun)
			link->begun--;
		else if (!may_stray(front))
			continue;
		label_of(program, &ended->program);
		exits_event(front, sandbox_id, program, ended->pid,
			    ended->exited);
	}
	return 0;
}
