/* SPDX-License-Identifier: Apache-2.0 */
/* api.h - NodeService: which method goes where
 *
 * Every call that a client's connection accepts comes here.
 */
#ifndef FRONT_API_H
#define FRONT_API_H

struct client;
struct grpc_call;

void api_accept(struct client *client, struct grpc_call *call,
		const char *path);

#endif /* FRONT_API_H */
