/* SPDX-License-Identifier: Apache-2.0 */
/* request.h - what the node asks, checked and in our own terms (pure) */
#ifndef AGENT_REQUEST_H
#define AGENT_REQUEST_H

#include "user.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "sandbox/node/v1/node.pb-c.h"
#include "sandbox/agent/v1/agent.pb-c.h"

struct error;
struct identity;

#define REQUEST_ARGV_MAX       4096u
#define REQUEST_ARGV_BYTES_MAX (1u << 20)
#define REQUEST_CHUNK_MAX      (1u << 20) /* stdin, file data */
#define REQUEST_PTY_MAX	       4096u
#define REQUEST_SIGNAL_MAX     64u

struct process_request {
	char **argv; /* NULL at the end; of a command: sh, -c, it */
	bool is_command;
	char cwd[PATH_MAX]; /* absolute */
	char **env;	    /* as asked, without what the sandbox has */
	char user[USER_NAME_MAX];
	uint32_t timeout_ms;
	bool pty;
	uint16_t rows, columns;
	bool wants_stdin;
	bool background;
};

void process_request_fini(struct process_request *r);

/* Fields are named as in ExecStart ("process.argv", ...). */
int request_process(const Sandbox__Node__V1__ProcessSpec *spec,
		    const char *workdir, const char *user,
		    struct process_request *ret, struct error *err);

int request_signal(uint32_t signal, struct error *err);
int request_pty_size(const Sandbox__Node__V1__PtySize *size, const char *field,
		     struct error *err);

/**
 * request_path() - A path from bytes: absolute, or relative to @workdir
 * @empty:	What no bytes at all mean; NULL: an error
 */
int request_path(const ProtobufCBinaryData *bytes, const char *workdir,
		 const char *empty, const char *field, char ret[PATH_MAX],
		 struct error *err);

/* A checked ConfigureRequest; strings are borrowed from the message. */
struct configure_request {
	const Sandbox__Agent__V1__ConfigureRequest *msg;
	char **env;
	bool has_mac, has_gateway_mac;
	uint8_t mac[6], gateway_mac[6];
	uint32_t address, gateway; /* network order; 0: none */
};

void configure_request_fini(struct configure_request *r);
int request_configure(const Sandbox__Agent__V1__ConfigureRequest *msg,
		      struct configure_request *ret, struct error *err);

#endif /* AGENT_REQUEST_H */
