/* SPDX-License-Identifier: Apache-2.0 */
/* ctl.h - what the commands of sandboxctl share */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "ctl/client.h"
#include "ctl/options.h"
#include "ctl/pb.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses that CLI.md of old scripts rely on. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1, /* by the server, or a local failure */
	CTL_USAGE = 2,
	CTL_NO_CONNECTION = 3,

	CTL_NEEDS_TLS = -1, /* not this program's: see ctl_main() */
};

/**
 * struct ctl - One run of the program
 * @json:	--json was given
 * @client:	Connected by ctl_connect(), which every ctl_call() does
 */
struct ctl {
	struct loop *loop;
	struct client *client;
	struct options *options;
	struct client_target target;
	bool json;
};

/**
 * struct command - One command; a table ends with a NULL name
 * @name:	"get", or two words as "port list"
 * @args:	What follows it in the help
 * @words_min, @words_max: How many words it takes
 * @rest:	It takes a command behind "--"
 * @options:	NULL: none
 * @run:	Returns the exit status
 */
struct command {
	const char *name;
	const char *args;
	const char *help;
	unsigned int words_min, words_max;
	bool rest;
	const struct option_def *options;
	int (*run)(struct ctl *ctl);
};

/**
 * ctl_main() - All of the program
 * @tls:	NULL: this one knows unix sockets only, and becomes the one that
 *		is linked with OpenSSL where another node is meant. Loading that
 *		takes longer than a short call to a node on this machine.
 */
int ctl_main(int argc, char **argv, const struct dial_tls *tls);

extern const struct command sandbox_commands[];
extern const struct command exec_commands[];
extern const struct command files_commands[];
extern const struct command copy_commands[];
extern const struct command ports_commands[];
extern const struct command snapshot_commands[];
extern const struct command image_commands[];
extern const struct command node_commands[];
extern const struct command events_commands[];

/* All of the above; ends with NULL. */
extern const struct command *const ctl_groups[];
extern const struct option_def ctl_global_options[];

/* Print the error and return the exit status for it. */
int ctl_usage(const struct error *err);
int ctl_local(const struct error *err);
int ctl_status(struct ctl *ctl, const struct grpc_status *st);

/* Return: 0, or the exit status after the message was printed. */
int ctl_connect(struct ctl *ctl);

/* ctl_connect() and client_unary(). NULL: *@ret_exit holds the exit status. */
ProtobufCMessage *ctl_call(struct ctl *ctl, const char *method,
			   const ProtobufCMessage *request, int *ret_exit);

/* The same for a command whose answer is printed only with --json. */
int ctl_simple(struct ctl *ctl, const char *method,
	       const ProtobufCMessage *request);

/* Called for each message of a stream; -1 ends the call (it said why). */
typedef int (*ctl_message_fn)(struct ctl *ctl, const ProtobufCMessage *m,
			      void *arg);

/* One request, then @fn for each answer. Returns the exit status. */
int ctl_stream(struct ctl *ctl, const char *method,
	       const ProtobufCMessage *request, ctl_message_fn fn, void *arg);

/* ctl_connect(), and signals end waits from now on. */
int ctl_begin(struct ctl *ctl);

/* The answer as JSON and a newline. */
void ctl_print_json(const ProtobufCMessage *m);

/* A request_id of our own; valid for the whole run. */
char *ctl_request_id(void);

static inline char *ctl_word(const struct ctl *ctl, size_t i)
{
	return (char *)(uintptr_t)options_word(ctl->options, i);
}

static inline char *ctl_option(const struct ctl *ctl, const char *name)
{
	const char *v = options_get(ctl->options, name);

	return (char *)(uintptr_t)(v ? v : "");
}

/* "2026-11-21 04:05:06" local time for people, "-" for NULL. */
#define CTL_TIME_MAX 40
const char *ctl_time(char dst[CTL_TIME_MAX],
		     const Google__Protobuf__Timestamp *t);

#endif /* CTL_CTL_H */
