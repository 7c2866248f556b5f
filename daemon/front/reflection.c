/* SPDX-License-Identifier: Apache-2.0 */
/* reflection.c - gRPC server reflection of the node's public API
 *
 * What is served is a FileDescriptorSet that protoc makes when the program is
 * built (front/local.mk). Each answer with descriptors holds the file asked for
 * and all that it imports, so that no second question is needed.
 */
#include "front/reflection.h"

#include "base/mem.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "grpc.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Of a set: grows with the API, checked by the unit test. */
#define FILES_MAX    32
#define SERVICES_MAX 16

static const uint8_t packed_set[] = {
#include "front/reflection_set.inc"
};

typedef Google__Protobuf__FileDescriptorSet file_set;
typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__EnumDescriptorProto enum_proto;
typedef Google__Protobuf__ServiceDescriptorProto service_proto;
typedef Grpc__Reflection__V1__ServerReflectionRequest request_msg;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_msg;

/* ---- finding ---- */

static file_proto *file_by_name(const file_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_file; i++)
		if (!strcmp(set->file[i]->name, name))
			return set->file[i];
	return NULL;
}

/* What is left of @symbol behind @scope and its dot: "" for the scope itself,
 * NULL if it is not inside.
 */
static const char *inside(const char *symbol, const char *scope)
{
	size_t len = strlen(scope);

	if (strncmp(symbol, scope, len) != 0)
		return NULL;
	if (!symbol[len])
		return symbol + len;
	return symbol[len] == '.' && symbol[len + 1] ? symbol + len + 1 : NULL;
}

static bool enum_has(const enum_proto *e, const char *symbol)
{
	const char *rest = inside(symbol, e->name);

	if (rest)
		return !*rest;
	/* Values live beside their enum, not in it. */
	for (size_t i = 0; i < e->n_value; i++)
		if (!strcmp(e->value[i]->name, symbol))
			return true;
	return false;
}

static bool message_has(const message_proto *m, const char *symbol)
{
	const char *rest = inside(symbol, m->name);

	if (!rest || !*rest)
		return rest != NULL;
	for (size_t i = 0; i < m->n_field; i++)
		if (!strcmp(m->field[i]->name, rest))
			return true;
	for (size_t i = 0; i < m->n_oneof_decl; i++)
		if (!strcmp(m->oneof_decl[i]->name, rest))
			return true;
	for (size_t i = 0; i < m->n_enum_type; i++)
		if (enum_has(m->enum_type[i], rest))
			return true;
	/* protoc bounds how deep messages nest. */
	for (size_t i = 0; i < m->n_nested_type; i++)
		if (message_has(m->nested_type[i], rest))
			return true;
	return false;
}

static bool service_has(const service_proto *s, const char *symbol)
{
	const char *rest = inside(symbol, s->name);

	if (!rest || !*rest)
		return rest != NULL;
	for (size_t i = 0; i < s->n_method; i++)
		if (!strcmp(s->method[i]->name, rest))
			return true;
	return false;
}

static bool file_has(const file_proto *file, const char *symbol)
{
	if (file->package && *file->package) {
		symbol = inside(symbol, file->package);
		if (!symbol || !*symbol)
			return false;
	}
	for (size_t i = 0; i < file->n_service; i++)
		if (service_has(file->service[i], symbol))
			return true;
	for (size_t i = 0; i < file->n_message_type; i++)
		if (message_has(file->message_type[i], symbol))
			return true;
	for (size_t i = 0; i < file->n_enum_type; i++)
		if (enum_has(file->enum_type[i], symbol))
			return true;
	return false;
}

static file_proto *file_by_symbol(const file_set *set, const char *symbol)
{
	for (size_t i = 0; i < set->n_file; i++)
		if (file_has(set->file[i], symbol))
			return set->file[i];
	return NULL;
}

static bool type_exists(const file_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_file; i++) {
		const file_proto *file = set->file[i];
		const char *rest = name;

		if (file->package && *file->package)
			rest = inside(name, file->package);
		for (size_t j = 0; rest && j < file->n_message_type; j++)
			if (message_has(file->message_type[j], rest))
				return true;
	}
	return false;
}

/* ---- answering ---- */

static int answer(struct grpc_call *call, request_msg *req, response_msg *res)
{
	uint8_t *buf;
	size_t len;
	int r;

	res->valid_host = req->host;
	res->original_request = req;
	len = grpc__reflection__v1__server_reflection_response__get_packed_size(
		res);
	buf = xcalloc(1, len);
	grpc__reflection__v1__server_reflection_response__pack(res, buf);
	r = grpc_call_send(call, buf, len);
	free(buf);
	return r;
}

static int answer_error(struct grpc_call *call, request_msg *req,
			enum grpc_code code, const char *text)
{
	response_msg res =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__ErrorResponse error =
		GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;

	error.error_code = (int32_t)code;
	error.error_message = (char *)(uintptr_t)text;
	res.message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	res.error_response = &error;
	return answer(call, req, &res);
}

/* @file and what it imports, each once, into @list. */
static size_t collect(const file_set *set, file_proto *file, file_proto **list)
{
	size_t n = 0;

	list[n++] = file;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < list[i]->n_dependency; j++) {
			file_proto *dep =
				file_by_name(set, list[i]->dependency[j]);
			size_t k = 0;

			while (k < n && list[k] != dep)
				k++;
			if (dep && k == n && n < FILES_MAX)
				list[n++] = dep;
		}
	}
	return n;
}

static int answer_file(struct grpc_call *call, request_msg *req,
		       const file_set *set, file_proto *file)
{
	response_msg res =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__FileDescriptorResponse files =
		GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
	ProtobufCBinaryData packed[FILES_MAX];
	file_proto *list[FILES_MAX];
	size_t n;
	int r;

	if (!file)
		return answer_error(call, req, GRPC_NOT_FOUND,
				    "no such file or symbol");
	n = collect(set, file, list);
	for (size_t i = 0; i < n; i++) {
		packed[i].len =
			google__protobuf__file_descriptor_proto__get_packed_size(
				list[i]);
		packed[i].data = xcalloc(1, packed[i].len + 1);
		google__protobuf__file_descriptor_proto__pack(list[i],
							      packed[i].data);
	}
	files.n_file_descriptor_proto = n;
	files.file_descriptor_proto = packed;
	res.message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	res.file_descriptor_response = &files;
	r = answer(call, req, &res);
	for (size_t i = 0; i < n; i++)
		free(packed[i].data);
	return r;
}

static int answer_services(struct grpc_call *call, request_msg *req,
			   const file_set *set)
{
	response_msg res =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__ListServiceResponse msg =
		GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
	Grpc__Reflection__V1__ServiceResponse services[SERVICES_MAX];
	Grpc__Reflection__V1__ServiceResponse *list[SERVICES_MAX];
	size_t n = 0;
	int r;

	for (size_t i = 0; i < set->n_file; i++) {
		const file_proto *file = set->file[i];

		for (size_t j = 0; j < file->n_service && n < SERVICES_MAX;
		     j++) {
			grpc__reflection__v1__service_response__init(
				&services[n]);
			services[n].name = xasprintf("%s.%s", file->package,
						     file->service[j]->name);
			list[n] = &services[n];
			n++;
		}
	}
	msg.service = list;
	msg.n_service = n;
	res.message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	res.list_services_response = &msg;
	r = answer(call, req, &res);
	while (n)
		free(services[--n].name);
	return r;
}

/* None of our messages has extensions. */
static int answer_extensions(struct grpc_call *call, request_msg *req,
			     const file_set *set)
{
	response_msg res =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__ExtensionNumberResponse msg =
		GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;

	if (!type_exists(set, req->all_extension_numbers_of_type))
		return answer_error(call, req, GRPC_NOT_FOUND, "no such type");
	msg.base_type_name = req->all_extension_numbers_of_type;
	res.message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
	res.all_extension_numbers_response = &msg;
	return answer(call, req, &res);
}

static int answer_request(struct grpc_call *call, request_msg *req,
			  const file_set *set)
{
	switch (req->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		return answer_file(call, req, set,
				   file_by_name(set, req->file_by_filename));
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		return answer_file(
			call, req, set,
			file_by_symbol(set, req->file_containing_symbol));
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
		return answer_error(call, req, GRPC_NOT_FOUND,
				    "no such extension");
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		return answer_extensions(call, req, set);
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		return answer_services(call, req, set);
	default:
		return answer_error(call, req, GRPC_INVALID_ARGUMENT,
				    "nothing is asked");
	}
}

/* ---- the call ---- */

static void finish(struct grpc_call *call, enum grpc_code code,
		   const char *text)
{
	struct grpc_status st;

	grpc_status_set(&st, code, NULL, "%s", text);
	grpc_call_finish(call, &st);
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	request_msg *req =
		grpc__reflection__v1__server_reflection_request__unpack(
			NULL, len, data);
	int r;

	if (!req) {
		finish(call, GRPC_INVALID_ARGUMENT, "malformed request");
		return;
	}
	/* Answers are larger than questions: read on when they are taken. */
	r = answer_request(call, req, arg);
	if (r == 1)
		grpc_call_pause(call, true);
	else if (r < 0)
		finish(call, GRPC_RESOURCE_EXHAUSTED, "the answer is too long");
	grpc__reflection__v1__server_reflection_request__free_unpacked(req,
								       NULL);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	(void)arg;
	finish(call, GRPC_OK, "");
}

static void on_writable(struct grpc_call *call, void *arg)
{
	(void)arg;
	grpc_call_pause(call, false);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	(void)call;
	(void)st;
	google__protobuf__file_descriptor_set__free_unpacked(arg, NULL);
}

static const struct grpc_call_ops call_ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

bool reflection_accept(struct grpc_call *call, const char *path)
{
	file_set *set;

	if (strcmp(path, "/grpc.reflection.v1.ServerReflection/"
			 "ServerReflectionInfo") != 0 &&
	    strcmp(path, "/grpc.reflection.v1alpha.ServerReflection/"
			 "ServerReflectionInfo") != 0)
		return false;
	set = google__protobuf__file_descriptor_set__unpack(
		NULL, sizeof(packed_set), packed_set);
	if (!set) {
		finish(call, GRPC_INTERNAL, "the descriptors do not parse");
		return true;
	}
	grpc_call_accept(call, &call_ops, set);
	return true;
}
