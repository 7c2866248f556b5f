/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h - one run of a program of ours that reads what strangers made
 *
 * It is started for one piece of work, with descriptors to work on and a socket
 * to report by, and ends when that is done. What it says may come from an
 * attacker who took it over: the owner checks each packet. Main thread only.
 */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct loop;
struct worker;

/**
 * struct worker_ops - What the owner hears
 * @packet:	What it reported. -1 (and @err) for what no honest process says:
 *		it is killed, and no packet of it is heard any more
 * @ended:	Once, last, never from within worker_start(). @broke: what
 *		@packet said was wrong; NULL: nothing. The owner frees the
 *		worker, then or later
 */
struct worker_ops {
	int (*packet)(const uint8_t *data, size_t len, void *arg,
		      struct error *err);
	void (*ended)(const siginfo_t *info, const struct error *broke,
		      void *arg);
};

/**
 * struct worker_config - What to run
 * @name:	For messages; borrowed for ever (a literal)
 * @argv:	Program and arguments, NULL-terminated
 * @fds:	Borrowed; they are descriptors 3 and so on, and the socket is the
 *		one after the last
 * @packet_max:	Bytes of its longest packet
 * @room:	Bytes that the socket should hold each way; 0: as it is
 */
struct worker_config {
	const char *name;
	const char *const *argv;
	const int *fds;
	size_t n_fds;
	size_t packet_max;
	int room;
};

int worker_start(struct loop *loop, const struct worker_config *config,
		 const struct worker_ops *ops, void *arg, struct worker **ret,
		 struct error *err);

/* Our end of the socket, to send by; and the process, 0 once it has ended. */
int worker_socket(const struct worker *worker);
pid_t worker_pid(const struct worker *worker);

/* Kill it: @ended comes. */
void worker_end(struct worker *worker);

/* At once, without a word. NULL is fine. */
struct worker *worker_free(struct worker *worker);

#endif /* ENGINE_WORKER_H */
