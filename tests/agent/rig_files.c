/* SPDX-License-Identifier: Apache-2.0 */
/* rig_files.c - calls about files of an agent, one line each */
#include "rig_files.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct write_options plain = { .mode = -1 };

struct call *write_begin(struct rig *rig, const char *path,
			 const struct write_options *o)
{
	NODE(WriteFileRequest) rq = NODE_INIT(WRITE_FILE_REQUEST);
	NODE(WriteFileStart) start = NODE_INIT(WRITE_FILE_START);
	Google__Protobuf__UInt32Value mode =
		GOOGLE__PROTOBUF__UINT32_VALUE__INIT;
	struct call *call = call_start(rig->client, "WriteFile");

	start.path = BYTES(path);
	if (o->mode >= 0) {
		mode.value = (uint32_t)o->mode;
		start.mode = &mode;
	}
	if (o->owner)
		start.owner = (char *)o->owner;
	start.make_parents = o->make_parents;
	start.exclusive = o->exclusive;
	start.append = o->append;
	rq.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	return call;
}

void write_data(struct call *call, const void *data, size_t len)
{
	NODE(WriteFileRequest) rq = NODE_INIT(WRITE_FILE_REQUEST);

	rq.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_DATA;
	rq.data.data = (uint8_t *)data;
	rq.data.len = len;
	call_send(call, &rq.base);
}

struct grpc_status write_end(struct call *call)
{
	struct grpc_status st;

	call_half_close(call);
	st = *call_wait(call);
	call_free(call);
	return st;
}

struct grpc_status write_file(struct rig *rig, const char *path,
			      const char *text, const struct write_options *o)
{
	struct call *call = write_begin(rig, path, o);

	write_data(call, text, strlen(text));
	return write_end(call);
}

struct grpc_status read_file(struct rig *rig, const char *path, uint64_t offset,
			     uint64_t length, char **ret, size_t *ret_len)
{
	NODE(ReadFileRequest) rq = NODE_INIT(READ_FILE_REQUEST);
	struct call *call = call_start(rig->client, "ReadFile");
	NODE(ReadFileResponse) * m;
	struct grpc_status st;

	*ret = xcalloc(1, 1);
	*ret_len = 0;
	rq.path = BYTES(path);
	rq.offset = offset;
	rq.length = length;
	call_send(call, &rq.base);
	call_half_close(call);
	while ((m = call_recv_message(call, DESCRIPTOR(read_file_response)))) {
		*ret = xrealloc(*ret, *ret_len + m->data.len + 1, 1);
		if (m->data.len)
			memcpy(*ret + *ret_len, m->data.data, m->data.len);
		*ret_len += m->data.len;
		(*ret)[*ret_len] = '\0';
		protobuf_c_message_free_unpacked(&m->base, NULL);
	}
	st = *call_wait(call);
	call_free(call);
	return st;
}

struct grpc_status ask(struct rig *rig, const char *method,
		       const ProtobufCMessage *rq,
		       const ProtobufCMessageDescriptor *type)
{
	struct grpc_status st;
	void *m = client_ask(rig->client, method, rq, type, &st);

	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	return st;
}

struct grpc_status make_dir(struct rig *rig, const char *path, bool parents)
{
	NODE(MakeDirectoryRequest) rq = NODE_INIT(MAKE_DIRECTORY_REQUEST);

	rq.path = BYTES(path);
	rq.make_parents = parents;
	return ask(rig, "MakeDirectory", &rq.base,
		   DESCRIPTOR(make_directory_response));
}

struct grpc_status remove_file(struct rig *rig, const char *path,
			       bool recursive, bool missing_ok)
{
	NODE(RemoveFileRequest) rq = NODE_INIT(REMOVE_FILE_REQUEST);

	rq.path = BYTES(path);
	rq.recursive = recursive;
	rq.missing_ok = missing_ok;
	return ask(rig, "RemoveFile", &rq.base,
		   DESCRIPTOR(remove_file_response));
}

struct grpc_status move_file(struct rig *rig, const char *from, const char *to,
			     bool no_replace)
{
	NODE(MoveFileRequest) rq = NODE_INIT(MOVE_FILE_REQUEST);

	rq.from_path = BYTES(from);
	rq.to_path = BYTES(to);
	rq.no_replace = no_replace;
	return ask(rig, "MoveFile", &rq.base, DESCRIPTOR(move_file_response));
}

void expect_text(struct rig *rig, const char *path, const char *text)
{
	struct grpc_status st;
	char *got;
	size_t len;

	st = read_file(rig, path, 0, 0, &got, &len);
	if (st.code != GRPC_OK)
		fail_msg("%s: %s", path, st.message);
	assert_string_equal(got, text);
	free(got);
}

void expect(struct grpc_status st, enum grpc_code code, const char *reason)
{
	if (st.code != code || strcmp(st.reason, reason) != 0)
		fail_msg("%s (%s): %s", grpc_code_str(st.code), st.reason,
			 st.message);
}
