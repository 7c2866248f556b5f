/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - control RPCs: one request to the engine, its answers to the client
 *
 * Unary, or with a stream of answers (BuildTemplate).
 */
#ifndef FRONT_CONTROL_H
#define FRONT_CONTROL_H

#include <protobuf-c/protobuf-c.h>

struct client;
struct grpc_call;

/* @method: borrowed for ever. */
void control_accept(struct client *client, struct grpc_call *call,
		    const char *method,
		    const ProtobufCMessageDescriptor *request);

#endif /* FRONT_CONTROL_H */
