/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - the processes that the node started, and their input and output
 *
 * A process lives apart from the calls that watch it: it keeps its last output
 * in rings, and its exit until a client has taken it. Runs on: loop.
 */
#ifndef AGENT_PROCESS_H
#define AGENT_PROCESS_H

#include "process_exit.h"
#include "ring.h"

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct agent;
struct error;
struct process;
struct process_request;

/* Read from a pipe at once. */
#define PROCESS_CHUNK (32u << 10)
/* Exited ones that are remembered; of these, ones whose exit was taken. */
#define PROCESS_EXITED_MAX 256u
#define PROCESS_TAKEN_MAX  32u
/* One whose exit was taken is forgotten after so long. */
#define PROCESS_TAKEN_MS 30000u
/* Clients of one process. */
#define PROCESS_CLIENTS_MAX 16u
/* Stdin that waits for the process, before its clients must wait. */
#define PROCESS_STDIN_HIGH 1u

enum process_state {
	PROCESS_STARTING, /* made, but not yet another program; not listed */
	PROCESS_RUNNING,
	PROCESS_DRAINING, /* it has exited; its last output is being read */
	PROCESS_EXITED,	  /* all is known */

	PROCESS_STATE_COUNT,
};

enum { PROCESS_STDOUT, PROCESS_STDERR, PROCESS_STREAMS };

/**
 * struct process_client - Who wants to hear of a process
 * @update:	There is more output, or the state has changed
 * @failed:	The program could not be started; the process is gone
 * @stdin_ready: More stdin may come
 * @blocked:	The client cannot take more output now (it sets that)
 */
struct process_client {
	struct list item;
	void (*update)(struct process_client *c);
	void (*failed)(struct process_client *c, const struct error *err);
	void (*stdin_ready)(struct process_client *c);
	bool blocked;
};

/* What others may read of one; only process.c writes it. */
struct process {
	struct list item;
	struct agent *agent;
	pid_t pid;
	enum process_state state;
	struct process_request *request;
	char user[256];
	struct timespec started_at;
	struct process_exit exit;
	struct ring ring[PROCESS_STREAMS];
	uint32_t n_clients;
	struct process_io *io;
};

/**
 * process_start() - Run something, with @client attached from the beginning
 * @request:	Its content is consumed, also on failure
 * @client:	Hears @failed, or @update when it runs
 *
 * Return: the process, or NULL with *@err set
 */
struct process *process_start(struct agent *agent,
			      struct process_request *request,
			      struct process_client *client, struct error *err);

/* NULL with *@err set (PROCESS_NOT_FOUND). */
struct process *process_find(struct agent *agent, uint32_t pid,
			     struct error *err);

int process_attach(struct process *p, struct process_client *client,
		   struct error *err);
/* @took_exit: the client has got all output and the exit. */
void process_detach(struct process *p, struct process_client *client,
		    bool took_exit);
/* A client's @blocked has changed. */
void process_client_changed(struct process *p);

/* Return: true when clients must wait for @stdin_ready. */
bool process_write(struct process *p, const uint8_t *data, size_t len);
void process_close_stdin(struct process *p);
bool process_stdin_is_full(const struct process *p);

int process_signal(struct process *p, uint32_t signal, struct error *err);
int process_resize(struct process *p, uint16_t rows, uint16_t columns,
		   struct error *err);

/* Children have died: collect all there are. */
void process_reap(struct agent *agent);

#endif /* AGENT_PROCESS_H */
