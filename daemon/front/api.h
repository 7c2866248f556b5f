/* SPDX-License-Identifier: Apache-2.0 */
/* api.h - NodeService: which method goes where
 *
 * Every call that a client's connection accepts comes here.
 */
#ifndef FRONT_API_H
#define FRONT_API_H

#include "front/front.h"

struct grpc_call;

/**
 * struct client - One client's connection, as its calls see it
 * @identity:	Who it is: a SAN, or "uid:N"
 *
 * Lives as long as any of its calls.
 */
struct client {
	struct front *front;
	char identity[IDENTITY_MAX];
};

void api_accept(struct client *client, struct grpc_call *call,
		const char *path);

/* End a call with an error of front's own. */
void api_refuse(struct grpc_call *call, const struct error *err);

#endif /* FRONT_API_H */
