/* SPDX-License-Identifier: Apache-2.0 */
/* rpc.h - the control methods of NodeService, one row each
 *
 * front passes a control call on as the packed request it decoded. Here it is
 * unpacked, looked up in the table and handed to its row's function, which
 * answers by call.h, at once or when a task has ended.
 */
#ifndef ENGINE_RPC_H
#define ENGINE_RPC_H

#include "engine/call.h"
#include "engine/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct error;
struct sandbox;

/**
 * struct rpc - One method
 * @request:	Its request's descriptor; NULL: the request is empty
 * @changes:	It changes something: refused while the node stops
 * @run:	Answers the call, or returns -1 with it untouched
 */
struct rpc {
	const char *method;
	const ProtobufCMessageDescriptor *request;
	bool changes;
	int (*run)(struct call *call, struct error *err);
};

void rpc_call(struct engine *e, uint64_t id, const char *method,
	      const char *identity, const uint8_t *request, size_t len,
	      int *fd);

/* Of a request: 0 and the sandbox, or -1: SANDBOX_NOT_FOUND. */
int rpc_sandbox(struct engine *e, const char *id, struct sandbox **ret,
		struct error *err);

int rpc_create_sandbox(struct call *call, struct error *err);
int rpc_get_sandbox(struct call *call, struct error *err);
int rpc_list_sandboxes(struct call *call, struct error *err);
int rpc_update_sandbox(struct call *call, struct error *err);
int rpc_pause_sandbox(struct call *call, struct error *err);
int rpc_resume_sandbox(struct call *call, struct error *err);
int rpc_terminate_sandbox(struct call *call, struct error *err);
int rpc_get_stats(struct call *call, struct error *err);
int rpc_list_denials(struct call *call, struct error *err);
int rpc_fork_sandbox(struct call *call, struct error *err);
int rpc_restore_sandbox(struct call *call, struct error *err);
int rpc_create_snapshot(struct call *call, struct error *err);
int rpc_list_snapshots(struct call *call, struct error *err);
int rpc_remove_snapshot(struct call *call, struct error *err);
int rpc_export_snapshot(struct call *call, struct error *err);
int rpc_import_snapshot(struct call *call, struct error *err);
int rpc_expose_port(struct call *call, struct error *err);
int rpc_list_ports(struct call *call, struct error *err);
int rpc_close_port(struct call *call, struct error *err);
int rpc_list_images(struct call *call, struct error *err);
int rpc_import_image(struct call *call, struct error *err);
int rpc_remove_image(struct call *call, struct error *err);
int rpc_list_templates(struct call *call, struct error *err);
int rpc_build_template(struct call *call, struct error *err);
int rpc_remove_template(struct call *call, struct error *err);
int rpc_get_node(struct call *call, struct error *err);
int rpc_drain_node(struct call *call, struct error *err);
int rpc_check_state(struct call *call, struct error *err);

/* Bytes that a sandbox's own files take on disk. */
uint64_t rpc_disk_bytes(struct engine *e, const struct sandbox *sb);

/* Those that wait; without an answer. */
void rpc_drains_free(struct engine *e);
void rpc_forks_free(struct engine *e);

#endif /* ENGINE_RPC_H */
