/* SPDX-License-Identifier: Apache-2.0 */
/* agent.c - how the agents in the guests of sandboxes are, and what is told
 *
 * Theory of operation
 * ===================
 *
 * An agent has none of two problems, or both:
 *
 *   silent	It does not answer the pings on its link, or cannot be reached.
 *		Over as soon as anything is heard: a slow guest is no event twice.
 *   broken	It broke the protocol, or its links do not last. Over only when
 *		one has lasted for a while: to be reached again is no proof.
 *
 * A guest must not be able to fill the event log, nor to keep the node busy. So
 * both problems together are told once and taken back once; a silence that comes
 * soon after the last one is told only when the link was given up, which takes
 * its time; and the more links fail in a row, the longer the next one waits.
 */
#include "engine/agent.h"

#include "base/error.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "engine/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BROKEN		"AGENT_BROKEN" /* of front_link_attach() too */
#define QUIET_MS	60000u /* between two silences that are told at once */
#define ATTACH_WAIT_MS	100u
#define ATTACH_WAIT_MAX 5000u
/* Not of a front that was just started again. */
#define TELL_AFTER 2

static const char *code_of(const struct sandbox *sb)
{
	return sb->agent.silent ? "AGENT_SILENT" : BROKEN;
}

const char *agent_problem(const struct sandbox *sb)
{
	if (sb->row.state != SBX_RUNNING)
		return "";
	if (sb->agent.silent)
		return "the agent does not answer";
	return sb->agent.broken ? sb->agent.why : "";
}

static void tell(struct sandbox *sb)
{
	struct agent *a = &sb->agent;
	const struct log_fields fields = { .sandbox_id = sb->row.id,
					   .message_id = LOG_ID_AGENT_UNWELL,
					   .error_code = code_of(sb) };

	if (a->told_ms)
		return;
	a->told_ms = loop_now_ms();
	log_line(LOG_LEVEL_WARN, &fields, "sandbox '%s': %s", sb->row.id,
		 agent_problem(sb));
	event_emit(sb->engine, "sandbox.error", sb->row.id,
		   EVENT_DATA({ "code", code_of(sb) },
			      { "message", agent_problem(sb) }));
}

static void over(struct sandbox *sb)
{
	struct agent *a = &sb->agent;
	char ms[24];

	if (a->told_ms) {
		snprintf(ms, sizeof(ms), "%" PRIu64,
			 loop_now_ms() - a->told_ms);
		log_info("sandbox '%s': its agent is well again", sb->row.id);
		event_emit(sb->engine, "sandbox.recovered", sb->row.id,
			   EVENT_DATA({ "durationMs", ms }));
		a->over_ms = loop_now_ms();
	}
	a->told_ms = 0;
}

/* What is broken was heard. */
static void set_broken(struct sandbox *sb, const char *why)
{
	struct agent *a = &sb->agent;

	a->silent = false;
	a->broken = true;
	snprintf(a->why, sizeof(a->why), "%.*s", AGENT_WHY_SIZE - 1, why);
}

/* ---- steadiness ---- */

static void on_steady(void *arg)
{
	struct sandbox *sb = arg;
	struct agent *a = &sb->agent;

	if (sb->engine->stopping || !sb->attached)
		return;
	a->failures = 0;
	a->broken = false;
	if (!a->silent)
		over(sb);
}

/* After @n failures in a row before this one. */
static uint64_t wait_for(unsigned int n)
{
	uint64_t ms = (uint64_t)ATTACH_WAIT_MS << (n < 6 ? n : 6);

	return ms < ATTACH_WAIT_MAX ? ms : ATTACH_WAIT_MAX;
}

/* ---- what happens ---- */

void agent_begin(struct sandbox *sb)
{
	sb->attached = false;
	sb->agent = (struct agent){ 0 };
}

void agent_linked(struct sandbox *sb)
{
	struct agent *a = &sb->agent;

	sb->attached = true;
	a->linked_ms = loop_now_ms();
	a->silent = false;
	if (!a->broken)
		over(sb);
	if (a->broken || a->failures)
		loop_timer(sb->engine->loop, &sb->retry,
			   a->linked_ms + sb->engine->agent_steady_ms,
			   on_steady, sb);
}

void agent_unlinked(struct sandbox *sb)
{
	sb->attached = false;
	sb->agent.linked_ms = 0;
}

uint64_t agent_unreachable(struct sandbox *sb, const struct error *err)
{
	struct agent *a = &sb->agent;
	unsigned int n = a->failures++;

	agent_unlinked(sb);
	if (!strcmp(err->reason, BROKEN))
		set_broken(sb, err->msg);
	else if (n >= TELL_AFTER)
		a->silent = true;
	if (a->broken || a->silent)
		tell(sb);
	return wait_for(n);
}

uint64_t agent_lost(struct sandbox *sb, const char *why, bool broken)
{
	struct agent *a = &sb->agent;
	bool lasted = a->linked_ms && loop_now_ms() - a->linked_ms >=
					      sb->engine->agent_steady_ms;

	agent_unlinked(sb);
	if (lasted)
		a->failures = 0;
	if (broken)
		set_broken(sb, why);
	else if (!lasted && a->failures >= TELL_AFTER)
		set_broken(sb, "the agent's link ends again and again");
	if (a->broken)
		tell(sb);
	if (lasted && !broken)
		return 0;
	return wait_for(a->failures++);
}

void agent_hushed(struct sandbox *sb, bool silent)
{
	struct agent *a = &sb->agent;

	if (!sb->attached)
		return;
	if (!silent) {
		a->silent = false;
		if (!a->broken)
			over(sb);
		return;
	}
	a->silent = true;
	/* Whoever freezes a guest's disks waits for them; so does its agent. */
	if (!sb->task &&
	    (!a->over_ms || loop_now_ms() - a->over_ms >= QUIET_MS))
		tell(sb);
}

enum agent_state agent_state_of(const struct sandbox *sb)
{
	if (sb->row.state != SBX_RUNNING)
		return AGENT_NONE;
	if (sb->agent.silent)
		return AGENT_SILENT;
	if (sb->agent.broken)
		return AGENT_BROKEN;
	return sb->attached ? AGENT_WELL : AGENT_CONNECTING;
}
