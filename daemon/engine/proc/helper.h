/* SPDX-License-Identifier: Apache-2.0 */
/* helper.h - one of the engine's own processes, kept running
 *
 * Starts it with a socket of base/ipc.h as its descriptor 3, and starts it
 * again when it ends or breaks the rules, backing off from 100 ms to 5 s. The
 * process keeps no state that matters, so it is ended by SIGKILL. Main thread
 * only.
 */
#ifndef ENGINE_HELPER_H
#define ENGINE_HELPER_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct helper;
struct error;
struct loop;

/* As base/helper_main.h wants it started. @path is copied. */
struct helper_program {
	const char *path;
	uid_t uid;
	gid_t gid;
	bool debug;
};

/**
 * struct helper_ops - What the owner wants to hear
 * @report:	Of what type every message from it is.  What does not parse breaks
 *		the rules
 * @up:		A new process listens: tell it everything.  From the loop, never
 *		from within helper_new()
 * @down:	It is gone (@why); another one will be started.  May be NULL
 * @message:	One report.  @m is borrowed, and so are @fds: whoever keeps one
 *		takes it with TAKE_FD(); the rest are closed.  Return -1 for
 *		what breaks the rules: the process is ended and replaced
 */
struct helper_ops {
	const ProtobufCMessageDescriptor *report;
	void (*up)(void *arg);
	void (*down)(const char *why, void *arg);
	int (*message)(const ProtobufCMessage *m, int *fds, size_t n_fds,
		       void *arg);
};

/**
 * helper_new() - Start a program, and keep it running
 * @name:	For logs; borrowed for ever (a literal)
 *
 * Fails only when the program cannot be started at all.
 */
int helper_new(struct loop *loop, const char *name,
	       const struct helper_program *program,
	       const struct helper_ops *ops, void *arg, struct helper **ret,
	       struct error *err);

/* For tests that play the process: over @fd (consumed), never restarted. */
int helper_new_fd(struct loop *loop, const char *name, int fd,
		  const struct helper_ops *ops, void *arg, struct helper **ret,
		  struct error *err);

/* Ends it at once and waits for it; `down` is not called. NULL is fine. */
struct helper *helper_free(struct helper *helper);

/* Let it go instead: it notices that nobody is there. NULL is fine. */
struct helper *helper_release(struct helper *helper);

/**
 * helper_tell() - Queue a command; descriptors are duplicated
 *
 * helper_tell_packed() is for one that is kept packed. Return: 0, or -1: it is
 * too large, or between two processes; the next one is told everything by @up.
 */
int helper_tell(struct helper *helper, const ProtobufCMessage *m,
		const int *fds, size_t n_fds);
int helper_tell_packed(struct helper *helper, const void *data, size_t len,
		       const int *fds, size_t n_fds);

/* The process now, 0 between two; and how many there were before it. */
pid_t helper_pid(const struct helper *helper);
uint64_t helper_epoch(const struct helper *helper);

#endif /* ENGINE_HELPER_H */
