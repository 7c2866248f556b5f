/* SPDX-License-Identifier: Apache-2.0 */
/* bench_client.h - what the parts of bench_client share */
#ifndef TESTS_BENCH_CLIENT_H
#define TESTS_BENCH_CLIENT_H

#include "ctl/client.h"
#include "ctl/pb.h"

#include <stddef.h>

/* The connection of this process. */
extern struct client *bench_client;

double bench_now_ms(void);
/* Connect to $SANDBOXD_CONNECT; ends the process when that fails. */
void bench_connect(void);
void bench_disconnect(void);
/* The answer; ends the process when there is none. */
ProtobufCMessage *bench_ask(const char *method, const ProtobufCMessage *req);
void bench_die(const char *what, const struct grpc_status *st);
void bench_print(const char *name, const double *ms, size_t n, const char *end);

/* $BENCH_MEMORY MiB, where it is set. */
void bench_resources(NODE(CreateSandboxRequest) * req,
		     Sandbox__Node__V1__Resources *r);
/* `true` in a guest, from the call's start to its status. */
void bench_run_true(const char *id);

/* rate get|list|create|start WHAT CLIENTS COUNT */
int bench_rate(int argc, char **argv);
/* during ID SECONDS */
int bench_during(int argc, char **argv);

#endif /* TESTS_BENCH_CLIENT_H */
