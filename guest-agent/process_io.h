/* SPDX-License-Identifier: Apache-2.0 */
/* process_io.h - a process's descriptors: output into rings, stdin, its end
 *
 * For process.c only.
 */
#ifndef AGENT_PROCESS_IO_H
#define AGENT_PROCESS_IO_H

#include "process.h"

struct agent;
struct loop_fd;
struct loop_timer;

/* Each may free the process, and the io with it. */
struct process_io_ops {
	void (*report)(void *arg);	/* report_fd can be read */
	void (*output)(void *arg);	/* the rings have more */
	void (*stdin_ready)(void *arg); /* all stdin so far is written */
	void (*drained)(void *arg);	/* after process_io_drain(): all read */
	void (*timeout)(void *arg);
};

struct stream {
	struct process_io *io;
	int fd; /* -EBADF: at its end */
	struct loop_fd *watch;
	size_t left; /* while draining: bytes that still count */
};

struct process_io {
	struct agent *agent;
	const struct process_io_ops *ops;
	void *arg;
	struct ring *ring;   /* PROCESS_STREAMS of them, borrowed */
	struct list clients; /* struct process_client */
	uint64_t serial;
	int cgroup_fd;
	uint64_t started_ms;
	uint64_t taken_ms; /* a client took the exit; 0: none */

	int report_fd;
	struct loop_fd *report_watch;
	struct loop_timer *timeout;

	struct stream stream[PROCESS_STREAMS];
	int terminal; /* the stream's descriptor too, borrowed */
	bool held;
	bool draining;

	int in_fd; /* -EBADF: closed */
	struct loop_fd *in_watch;
	uint8_t *in_buf;
	size_t in_at, in_len;
	bool in_closing;
};

/* The child's ends; in, out and err are one and the same for a terminal. */
struct process_io_ends {
	int in, out, err, terminal;
};

struct process_io *process_io_new(struct agent *agent, struct ring *rings,
				  const struct process_io_ops *ops, void *arg);
void process_io_free(struct process_io *io);

/* Make the pipes or the terminal. */
int process_io_open(struct process_io *io, const struct process_request *rq,
		    struct process_io_ends *ret, struct error *err);
void process_io_ends_close(struct process_io_ends *ends);
/* The child is there: watch it. */
int process_io_begin(struct process_io *io, uint32_t timeout_ms,
		     struct error *err);
void process_io_report_end(struct process_io *io);

/* @hold: read no output until called with false: the reader is behind. */
void process_io_hold(struct process_io *io, bool hold);
/* The process has died: read what is there, then tell drained(). */
void process_io_drain(struct process_io *io);

bool process_io_write(struct process_io *io, const uint8_t *data, size_t len);
bool process_io_stdin_is_full(const struct process_io *io);
void process_io_close_stdin(struct process_io *io);

#endif /* AGENT_PROCESS_IO_H */
