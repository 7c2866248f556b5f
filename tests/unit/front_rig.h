/* SPDX-License-Identifier: Apache-2.0 */
/* front_rig.h - a front with a fake engine, a fake agent and clients, one loop
 *
 * The engine's side is the real front_link over a socketpair; the fake agent is
 * a gRPC server at the other end of one. Everything runs on the test's thread.
 */
#ifndef TESTS_FRONT_RIG_H
#define TESTS_FRONT_RIG_H

#include "base/error.h"
#include "base/list.h"
#include "grpc.h"
#include "sandbox/agent/v1/agent.pb-c.h"
#include "sandbox/ipc/v1/ipc.pb-c.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct front;
struct front_link;
struct grpc_io;
struct loop;

#define NODE_SERVICE   "/sandbox.node.v1.NodeService/"
#define RIG_EVENTS_MAX 32

/* What the fake agent does with an Exec or Tunnel. */
enum agent_way {
	AGENT_ECHO = 0, /* started; stdin comes back; the end of it exits */
	AGENT_FLOOD,	/* started; `flood` bytes of stdout; exits */
	AGENT_HANG,	/* started, and nothing more */
	AGENT_LIES,	/* output before the start */
	AGENT_GARBAGE,	/* a message that is no protobuf */
	AGENT_TWICE,	/* exits twice */
};

struct rig {
	struct loop *loop;
	struct front_link *engine; /* the engine's side */
	struct front *front;	   /* NULL: it is a process of its own */
	int listen_fd;
	char dir[32];
	char path[64]; /* of the unix socket */

	/* the fake engine */
	bool up, down, hold_acquires;
	uint64_t held_acquire;
	struct error acquire_err;
	uint32_t allow_port;
	unsigned int acquired, released, activities;
	uint64_t call_id, cancelled_id;
	char method[64], identity[64];
	uint8_t *request;
	size_t request_len;
	int call_fd;
	struct error call_err;
	const ProtobufCMessage *call_answer;
	bool hold_calls;
	char events[RIG_EVENTS_MAX][128]; /* "type key=value ..." */
	unsigned int n_events;
	unsigned int lost, lost_broken;
	char lost_why[256];
	unsigned int silences, heard_again;
	char silent_key[64];
	uint64_t log_newest, log_oldest; /* of the event log */
	unsigned int reads;

	/* the fake agent */
	enum agent_way way;
	uint64_t flood;
	unsigned int hellos, configures, agent_cancels;
	int64_t clock_ms; /* that the last Configure set */
	uint64_t agent_sent, tunnelled;
	struct list agent_calls;
	struct grpc_io *agent_io; /* of the last attach; */
	struct grpc_io *older_io; /* of the one before, if both stand */
	bool agent_closed;
	bool configured;  /* what it says in Hello; then it is not told */
	size_t unary_garbage; /* answers are so many bytes of no protobuf */
	uint32_t hello_version; /* 0: the right one */
	bool tells_exits; /* else it is an older one */
	struct grpc_call *exits_call; /* NextExits that waits */
	uint64_t exits_acked;

	/* the last answer to a request of the engine */
	bool answered;
	struct error answer_err;
};

struct rig *rig_new(void);
/* With sandboxd-front as a process, told everything whenever it is up. */
struct rig *rig_new_process(void);
/* Give front what a Setup holds; certificates are three descriptors. */
void rig_setup(struct rig *rig, Sandbox__Ipc__V1__Setup *setup, const int *fds);
void rig_free(struct rig *rig);

/* Run the loop until *@flag, or fail after 10 s. */
#define rig_until(rig, cond)                                                   \
	do {                                                                   \
		uint64_t end_ = loop_now_ms() + 10000;                         \
		while (!(cond)) {                                              \
			assert_true(loop_now_ms() < end_);                     \
			rig_step(rig);                                         \
		}                                                              \
	} while (0)
void rig_step(struct rig *rig);
/* Run it for as long as anything happens. */
void rig_settle(struct rig *rig);

/* Attach a fake agent as @key and wait for the answer. */
void rig_attach(struct rig *rig, const char *key);
/* The fake agent without a pump: it is heard only while the test moves its
 * bytes.
 */
struct grpc_conn *rig_agent_conn(struct rig *rig);
/* Give front this descriptor as the agent's. */
void rig_attach_fd(struct rig *rig, const char *key, int fd, uint32_t ms);
/* The agent tells the end of a process. */
void rig_exit(struct rig *rig, uint64_t sequence, uint32_t pid, uint32_t code);
bool rig_has_event(struct rig *rig, const char *text);

void rig_answer(const struct error *err, const uint8_t *data, size_t len,
		void *arg);

/**
 * struct client - One call as a client sees it
 */
struct client_conn {
	struct rig *rig;
	struct grpc_conn *conn;
	struct grpc_io *io;
	bool closed;
	char why[128];
};

struct client_call {
	struct client_conn *cc;
	struct grpc_call *call; /* NULL: done */
	struct grpc_status st;
	bool done;
	bool paused;
	unsigned int messages;
	uint64_t bytes; /* of stdout or data */
	uint8_t last[4096];
	size_t last_len;
	bool connected, guest_over, started, exited;
};

void client_connect(struct rig *rig, struct client_conn *cc);
void client_close(struct client_conn *cc);
void client_start(struct client_conn *cc, struct client_call *c,
		  const char *method);
int client_send(struct client_call *c, const ProtobufCMessage *m);
/* Send @m, half-close, wait for the end. */
void client_unary(struct client_conn *cc, struct client_call *c,
		  const char *method, const ProtobufCMessage *m);
void client_exec(struct client_conn *cc, struct client_call *c,
		 const char *sandbox_id);
void client_stdin(struct client_call *c, const void *data, size_t len);

#endif /* TESTS_FRONT_RIG_H */
