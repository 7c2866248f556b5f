/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - a remote process with our terminal, streams and signals */
#ifndef CTL_SESSION_H
#define CTL_SESSION_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct ctl;

/**
 * struct session_params - How a session goes
 * @method:	"Exec" or "AttachProcess"
 * @start:	Its first message
 * @input:	Send our standard input
 * @tty:	The process has a terminal and ours is to be it
 */
struct session_params {
	const char *method;
	const ProtobufCMessage *start;
	bool input;
	bool tty;
};

/**
 * session_run() - Until the process ended
 *
 * Signals that reach us are sent on to the process; the third SIGINT within
 * two seconds ends the session instead.
 *
 * Return: the exit status: the process's, or 128 + its signal; CTL_REFUSED or
 * CTL_NO_CONNECTION with the reason on stderr
 */
int session_run(struct ctl *ctl, const struct session_params *params);

#endif /* CTL_SESSION_H */
