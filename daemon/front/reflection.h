/* SPDX-License-Identifier: Apache-2.0 */
/* reflection.h - gRPC server reflection of the node's public API
 *
 * grpc.reflection.v1 and v1alpha (the same messages by another name), from
 * descriptors that the build puts into the program. Stateless. Main thread.
 */
#ifndef FRONT_REFLECTION_H
#define FRONT_REFLECTION_H

#include <stdbool.h>

struct grpc_call;

/* For struct grpc_conn_ops's accept: take the call if @path is reflection's. */
bool reflection_accept(struct grpc_call *call, const char *path);

#endif /* FRONT_REFLECTION_H */
