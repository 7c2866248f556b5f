/* SPDX-License-Identifier: Apache-2.0 */
/* methods.h - which calls there are, and when they may be made */
#ifndef AGENT_METHODS_H
#define AGENT_METHODS_H

#include "rpc.h"

/* Hand a call to whoever answers it, or refuse it. @open: its connection has
 * said Hello. @peer: copied.
 */
void methods_accept(struct agent *agent, struct grpc_call *call,
		    const char *path, bool open, const struct rpc_peer *peer);

#endif /* AGENT_METHODS_H */
