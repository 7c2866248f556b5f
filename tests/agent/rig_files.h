/* SPDX-License-Identifier: Apache-2.0 */
/* rig_files.h - calls about files of an agent, one line each */
#ifndef TEST_AGENT_RIG_FILES_H
#define TEST_AGENT_RIG_FILES_H

#include "rig.h"

#define DESCRIPTOR(name) (&sandbox__node__v1__##name##__descriptor)

struct write_options {
	int mode; /* -1: absent */
	const char *owner;
	bool make_parents, exclusive, append;
};

/* As an editor writes. */
extern const struct write_options plain;

struct call *write_begin(struct rig *rig, const char *path,
			 const struct write_options *o);
void write_data(struct call *call, const void *data, size_t len);
/* How it ended; frees the call. */
struct grpc_status write_end(struct call *call);
struct grpc_status write_file(struct rig *rig, const char *path,
			      const char *text, const struct write_options *o);
/* @ret: the caller's to free, also after a failure. */
struct grpc_status read_file(struct rig *rig, const char *path, uint64_t offset,
			     uint64_t length, char **ret, size_t *ret_len);
/* A call whose answer is of no interest. */
struct grpc_status ask(struct rig *rig, const char *method,
		       const ProtobufCMessage *rq,
		       const ProtobufCMessageDescriptor *type);
struct grpc_status make_dir(struct rig *rig, const char *path, bool parents);
struct grpc_status remove_file(struct rig *rig, const char *path,
			       bool recursive, bool missing_ok);
struct grpc_status move_file(struct rig *rig, const char *from, const char *to,
			     bool no_replace);
/* Fail if it is not so. */
void expect_text(struct rig *rig, const char *path, const char *text);
void expect(struct grpc_status st, enum grpc_code code, const char *reason);

#endif /* TEST_AGENT_RIG_FILES_H */
