/* SPDX-License-Identifier: Apache-2.0 */
/* house.h - a model_node and its directory: started, killed, looked over
 *
 * Everything lies below one temporary directory, and runs in a network
 * namespace of its own. house_end() leaves nothing, whatever came before.
 */
#ifndef TESTS_MODEL_HOUSE_H
#define TESTS_MODEL_HOUSE_H

#include "agent/client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct house {
	char dir[64];
	char settings[1024]; /* of sandboxd.conf, beyond what a house needs */
	char node[256], agent[256], libexec[256];
	char program[256]; /* other than model_node: started with --config */
	pid_t pid;
	struct client *client; /* NULL: none now */
	bool keep;	       /* the directory, for a look */
	uint64_t starts;
};

void house_begin(struct house *h, const char *settings);
/* Writes the configuration, starts the node, and waits until it answers. */
void house_start(struct house *h);
/* End with @sig (SIGKILL, SIGTERM) and wait for it. */
void house_stop(struct house *h, int sig);
void house_end(struct house *h);

pid_t house_front_pid(const struct house *h);
/* Resident memory in KiB; 0 when it is gone. */
size_t house_rss(pid_t pid);

/* See file_hv.h. @text: contents of the file; NULL: remove it. */
void house_fault(struct house *h, const char *name, const char *text);
bool house_has_fault(struct house *h, const char *name);
/* Guests with a live process: their directories' names, the caller's. */
size_t house_guests(struct house *h, char ***ret);
/* Entries of a directory, without what is hidden. */
size_t house_count(const char *path);
/* Entries of <state>/@dir, without what is hidden. */
size_t house_entries(struct house *h, const char *dir);
/* Kill that guest as a host's OOM killer would. False: it does not run. */
bool house_kill_guest(struct house *h, const char *uuid);

/* ---- calls ---- */

/* The connection, made anew as often as needed. Dies after 30 s without. */
struct client *house_client(struct house *h);
/* One call with one answer (or the first of several), once. */
void *house_ask(struct house *h, const char *method, const ProtobufCMessage *rq,
		const ProtobufCMessageDescriptor *type, struct grpc_status *st);
struct call *house_call(struct house *h, const char *method);
/* Whether the same call may end otherwise when it is made again. */
bool house_is_passing(const struct grpc_status *st);

uint64_t now_ms(void);
void nap_ms(int ms);
/* Prints and aborts. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif /* TESTS_MODEL_HOUSE_H */
