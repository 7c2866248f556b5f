/* SPDX-License-Identifier: Apache-2.0 */
/* status.h - one outcome, as each neighbour of front says it
 *
 * Errors come from the engine (ipc.proto's Status), from agents (a gRPC
 * status that a hostile guest may have written) and from front itself (struct
 * error); clients hear a gRPC status with an ErrorInfo, always.
 */
#ifndef FRONT_STATUS_H
#define FRONT_STATUS_H

#include "grpc.h"
#include "sandbox/ipc/v1/ipc.pb-c.h"

struct error;

void status_of_error(struct grpc_status *ret, const struct error *err);
void status_of_engine(struct grpc_status *ret,
		      const Sandbox__Ipc__V1__Status *status);

/* What a guest says, put into our terms: only known reasons pass, each with
 * its own code; text is escaped and cut.
 */
void status_of_agent(struct grpc_status *ret, const struct grpc_status *said);

/* For Reply messages to the engine; points into *@st. */
void status_to_engine(Sandbox__Ipc__V1__Status *ret,
		      const struct grpc_status *st);

/* An error that a front_link or a log line can carry. */
void status_to_error(struct error *ret, const struct grpc_status *st);

#endif /* FRONT_STATUS_H */
