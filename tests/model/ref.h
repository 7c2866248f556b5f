/* SPDX-License-Identifier: Apache-2.0 */
/* ref.h - what the node should be, in a few plain fields
 *
 * The reference model: sandboxes with a state and one value (the text of a file
 * in each guest, which pause, snapshot, fork and restore carry along), their
 * snapshots and ports. A step makes a call, says what may be answered, and
 * changes the reference as the call should have changed the node; ref_audit()
 * then compares all of it.
 *
 * Every step has random numbers of its own, from the seed and its number alone,
 * so a run can be repeated and cut short.
 */
#ifndef TESTS_MODEL_REF_H
#define TESTS_MODEL_REF_H

#include "house.h"

#define BOXES_MAX 512 /* ever, in one run */
#define SNAPS_MAX 512
#define ALIVE_MAX 8
#define NO_VALUE  (-1)

enum ref_state { REF_RUNNING = 1, REF_PAUSED, REF_GONE };

struct ref_box {
	char id[64];
	enum ref_state state;
	int value; /* NO_VALUE: the file is not there */
	bool has_saved;
	int saved; /* of the last pause: what a lost guest goes back to */
	bool auto_resume;
	unsigned int ports; /* bits */
	uint32_t timeout_ms;
};

struct ref_snap {
	char id[64], box[64], name[65];
	int value;
	bool gone;
};

/* What happens while a call is under way. */
enum strike { NO_STRIKE = 0, KILL_FRONT, KILL_NODE, STOP_NODE, STRIKES };

struct ref {
	struct house *house;
	uint64_t seed, step, rng;
	bool faults; /* wanted at all */
	enum strike strike;
	int strike_ms;
	const char *armed; /* fault that a call may run into; NULL: none */
	uint64_t requests; /* ids given out */
	uint64_t events;   /* last sequence seen */
	struct ref_box boxes[BOXES_MAX];
	size_t n_boxes;
	struct ref_snap snaps[SNAPS_MAX];
	size_t n_snaps;
	/* For the last line */
	uint64_t calls, retries, struck, failed, replays;
	char trace[64][200];
	uint64_t n_trace;
};

uint64_t ref_random(struct ref *r);
/* 0 to @n - 1. */
unsigned int pick(struct ref *r, unsigned int n);
bool chance(struct ref *r, unsigned int percent);

void trace(struct ref *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Says where we are, and dies. */
void wrong(struct ref *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));

struct ref_box *ref_box_add(struct ref *r, const char *id);
/* A random one that is not GONE (in @state unless 0); NULL: there is none. */
struct ref_box *ref_box_any(struct ref *r, enum ref_state state);
struct ref_box *ref_box_find(struct ref *r, const char *id);
size_t ref_alive(const struct ref *r);
struct ref_snap *ref_snap_add(struct ref *r, const char *id, const char *box,
			      const char *name, int value);
struct ref_snap *ref_snap_any(struct ref *r, const char *box);

/* Of a request_id field; valid until the next but seven. */
char *ref_request(struct ref *r);

/* One mutation, made until its answer is definite, with what the step has
 * planned to strike; sometimes made once more, for the same answer.
 */
void *ref_mutate(struct ref *r, const char *method, const ProtobufCMessage *rq,
		 const ProtobufCMessageDescriptor *type,
		 struct grpc_status *st);
/* A question: as above, without strikes. */
void *ref_ask(struct ref *r, const char *method, const ProtobufCMessage *rq,
	      const ProtobufCMessageDescriptor *type, struct grpc_status *st);
void ref_expect(struct ref *r, const struct grpc_status *st,
		enum grpc_code code, const char *reason, const char *what);
/* The fault that was armed is no more. */
void ref_disarm(struct ref *r);
/* True: the call failed because a fault was armed for it. */
bool ref_failed_as_told(struct ref *r, const struct grpc_status *st);

/* The state as the node tells it once it is no longer on its way; GONE also if
 * it knows no such sandbox.
 */
enum ref_state ref_look(struct ref *r, const char *id);
/* By a file's text; NO_VALUE: it is not there. The sandbox wakes. */
int ref_read_value(struct ref *r, const char *id);
void ref_check_box(struct ref *r, const struct ref_box *box);
/* After what the model cannot foresee: take @box's state from the node, if it
 * is one of the @n possible values.
 */
void ref_adopt(struct ref *r, struct ref_box *box, const int *values, size_t n);
void ref_audit(struct ref *r);
void ref_audit_events(struct ref *r);

/* Steps */
void step_create(struct ref *r);
void step_pause(struct ref *r);
void step_resume(struct ref *r);
void step_terminate(struct ref *r);
void step_snapshot(struct ref *r);
void step_remove_snapshot(struct ref *r);
void step_restore(struct ref *r);
void step_fork(struct ref *r);
void step_update(struct ref *r);
void step_drain(struct ref *r);
void step_write(struct ref *r);
void step_files(struct ref *r);
void step_exec(struct ref *r);
void step_background(struct ref *r);
void step_watch(struct ref *r);
void step_port(struct ref *r);
void step_questions(struct ref *r);
void step_bad_input(struct ref *r);
void step_at_once(struct ref *r);
void step_lose_guest(struct ref *r);
void step_hypervisor_away(struct ref *r);
void step_bare_strike(struct ref *r);

void strike_now(struct ref *r, enum strike s);

#endif /* TESTS_MODEL_REF_H */
