/* SPDX-License-Identifier: Apache-2.0 */
/* agent.h - what there is once in an agent, and who owns it
 *
 * One struct agent, on the loop's thread. Threads of tasks see none of it but
 * what task_start() copied for them.
 */
#ifndef AGENT_H
#define AGENT_H

#include "ring.h"
#include "user.h"

#include "base/list.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct server;
struct exits;
struct freezer;
struct grpc_status;
struct error;

#define AGENT_PROTOCOL_VERSION 1u
#define AGENT_VSOCK_PORT       1024u
#define AGENT_NONCE_MIN	       16u
#define AGENT_NONCE_MAX	       64u
#define AGENT_ID_MAX	       128u

/* Limits of what AgentLimits may set, and what 0 means. */
#define AGENT_PROCESSES_DEFAULT	 512u
#define AGENT_PROCESSES_MAX	 4096u
#define AGENT_RING_BYTES_DEFAULT (1u << 20)
#define AGENT_RING_BYTES_MAX	 (16u << 20)

/* What Configure gave; sane before it, too. */
struct identity {
	bool configured;
	uint64_t changes; /* HelloResponse.generation */
	char sandbox_id[AGENT_ID_MAX];
	uint64_t generation;
	uint8_t nonce[AGENT_NONCE_MAX];
	size_t nonce_len; /* 0: none yet */
	char **env;	  /* "NAME=value", NULL at the end */
	char workdir[PATH_MAX];
	char user[USER_NAME_MAX];
};

struct agent {
	struct loop *loop;
	struct server *server;
	struct freezer *freezer;
	bool is_init;	       /* PID 1 of a guest: may change the machine */
	char root_failed[256]; /* why there is no root file system, or "" */
	struct identity id;
	struct configuring *configuring_later; /* after the thaw; NULL: none */

	int null_fd;   /* /dev/null */
	int cgroup_fd; /* of all processes' cgroups; -EBADF: there are none */

	struct list processes; /* struct process, oldest first */
	uint32_t n_processes;
	uint32_t n_running;
	uint32_t processes_max;
	uint64_t process_serial;
	size_t ring_bytes;
	struct ring_budget ring_budget;
	struct cgroups *cgroups; /* cgroup.c; NULL: there are none */

	struct exits *exits; /* exits.h */

	struct list lingers; /* struct linger: pipes that nobody reads */
	uint32_t n_lingers;

	struct list tasks_waiting; /* struct task */
	uint32_t n_tasks;	   /* with a thread */
	uint32_t n_tunnels;
};

/* A line on the console (in a guest) or stderr. Never secrets. */
void agent_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The gRPC status that an error is. */
void agent_status(struct grpc_status *st, const struct error *err);

/* ERR_INVALID etc. from an errno of a file operation, with the contract's
 * reason (FILE_NOT_FOUND, PERMISSION_DENIED, ...). Returns -1.
 */
int agent_file_error(struct error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* AGENT_H */
