/* SPDX-License-Identifier: Apache-2.0 */
/* files.c - files in guests: what clients may ask and agents may answer
 *
 * Names that a guest gives are never used on the host, but a client may make
 * files of them (a recursive copy), so what is no plain name does not pass.
 */
#include "front/proxy.h"

#include "base/error.h"
#include "front/check.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <string.h>

#define LIST_MAX     10000
#define LIST_DEFAULT 1000
#define PATTERN_MAX  1024
#define MATCH_LINE_MAX     512

#define NODE(name) (&sandbox__node__v1__##name##__descriptor)

static void report(struct proxy *p, const char *type, const char *path)
{
	struct engine_pair data[] = { { "path", path } };

	engine_event(p->front->engine, p->sandbox_id, type, data, 1);
}

static int check_mode(const Google__Protobuf__UInt32Value *mode,
		      struct error *err)
{
	return mode ? check_range(mode->value, 0, 07777, "mode", err) : 0;
}

/* A FileInfo of the guest's; @name: of a directory's entry, not a path. */
static int check_info(const Sandbox__Node__V1__FileInfo *info, bool name,
		      struct error *err)
{
	if (!info)
		return 0;
	if (name ? check_name(&info->name, "name", err) :
		   check_path(&info->name, true, "name", err))
		return -1;
	if (check_range(info->mode, 0, 07777, "mode", err) < 0)
		return -1;
	return check_path(&info->link_target, true, "link_target", err);
}

static int no_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	(void)p;
	(void)m;
	(void)err;
	return 0;
}

/* ---- ReadFile ---- */

static char **read_first(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__ReadFileRequest *r = (void *)m;

	(void)p;
	if (check_path(&r->path, false, "path", err) < 0)
		return NULL;
	return &r->sandbox_id;
}

static int read_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__ReadFileResponse *r = (void *)m;

	if (!p->started != !!r->info)
		return err_set(err, ERR_INVALID,
			       "info not in the first message, or later");
	p->started = true;
	if (check_info(r->info, false, err) < 0)
		return -1;
	return check_bytes(&r->data, CHECK_DATA_MAX, false, "data", err);
}

/* ---- WriteFile ---- */

static char **write_first(struct proxy *p, ProtobufCMessage *m,
			  struct error *err)
{
	Sandbox__Node__V1__WriteFileRequest *r = (void *)m;

	if (r->input_case != SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_START) {
		err_field(err, "start", "start: must come first");
		return NULL;
	}
	if (check_path(&r->start->path, false, "path", err) < 0 ||
	    check_mode(r->start->mode, err) < 0 ||
	    check_user(r->start->owner, "owner", err) < 0)
		return NULL;
	label_of(p->label, &r->start->path);
	return &r->start->sandbox_id;
}

static int write_more(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__WriteFileRequest *r = (void *)m;

	(void)p;
	if (r->input_case != SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_DATA)
		return err_field(err, "data", "data: must follow start");
	return check_bytes(&r->data, CHECK_DATA_MAX, false, "data", err);
}

static int write_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__WriteFileResponse *r = (void *)m;

	p->created = r->created;
	return check_info(r->info, false, err);
}

static void write_ended(struct proxy *p, struct grpc_status *st)
{
	if (st->code == GRPC_OK)
		report(p, p->created ? "file.created" : "file.modified",
		       p->label);
}

/* ---- StatFile, ListDirectory ---- */

static char **stat_first(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__StatFileRequest *r = (void *)m;

	(void)p;
	if (check_path(&r->path, false, "path", err) < 0)
		return NULL;
	return &r->sandbox_id;
}

static int stat_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__StatFileResponse *r = (void *)m;

	(void)p;
	if (!r->info)
		return err_set(err, ERR_INVALID, "an answer without info");
	return check_info(r->info, false, err);
}

static char **list_first(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__ListDirectoryRequest *r = (void *)m;

	if (check_path(&r->path, false, "path", err) < 0 ||
	    check_range(r->limit, 0, LIST_MAX, "limit", err) < 0 ||
	    check_bytes(&r->after_name, CHECK_NAME_MAX, true, "after_name",
			err) < 0)
		return NULL;
	p->limit = r->limit ? r->limit : LIST_DEFAULT;
	return &r->sandbox_id;
}

static int list_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__ListDirectoryResponse *r = (void *)m;

	if (r->n_entries > p->limit)
		return err_set(err, ERR_INVALID, "more entries than asked for");
	for (size_t i = 0; i < r->n_entries; i++) {
		if (check_info(r->entries[i], true, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- MakeDirectory, RemoveFile, MoveFile ---- */

static char **make_first(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__MakeDirectoryRequest *r = (void *)m;

	if (check_path(&r->path, false, "path", err) < 0 ||
	    check_mode(r->mode, err) < 0)
		return NULL;
	label_of(p->label, &r->path);
	return &r->sandbox_id;
}

static void make_ended(struct proxy *p, struct grpc_status *st)
{
	if (st->code == GRPC_OK)
		report(p, "file.created", p->label);
}

static char **remove_first(struct proxy *p, ProtobufCMessage *m,
			   struct error *err)
{
	Sandbox__Node__V1__RemoveFileRequest *r = (void *)m;

	if (check_path(&r->path, false, "path", err) < 0)
		return NULL;
	label_of(p->label, &r->path);
	return &r->sandbox_id;
}

static void remove_ended(struct proxy *p, struct grpc_status *st)
{
	if (st->code == GRPC_OK)
		report(p, "file.removed", p->label);
}

static char **move_first(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__MoveFileRequest *r = (void *)m;

	if (check_path(&r->from_path, false, "from_path", err) < 0 ||
	    check_path(&r->to_path, false, "to_path", err) < 0)
		return NULL;
	label_of(p->label, &r->from_path);
	label_of(p->label2, &r->to_path);
	return &r->sandbox_id;
}

static void move_ended(struct proxy *p, struct grpc_status *st)
{
	if (st->code != GRPC_OK)
		return;
	report(p, "file.removed", p->label);
	report(p, "file.created", p->label2);
}

/* ---- WatchDirectory ---- */

static char **watch_first(struct proxy *p, ProtobufCMessage *m,
			  struct error *err)
{
	Sandbox__Node__V1__WatchDirectoryRequest *r = (void *)m;

	(void)p;
	if (check_path(&r->path, false, "path", err) < 0)
		return NULL;
	return &r->sandbox_id;
}

static int watch_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__WatchDirectoryResponse *r = (void *)m;

	(void)p;
	if (check_path(&r->path, true, "path", err) < 0)
		return -1;
	return check_path(&r->to_path, true, "to_path", err);
}

/* A watch that reports nothing keeps no sandbox awake. */
static void watch_sent(struct proxy *p, ProtobufCMessage *m)
{
	(void)m;
	proxy_release(p);
	proxy_activity(p);
}

/* ---- SearchFiles ---- */

static char **search_first(struct proxy *p, ProtobufCMessage *m,
			   struct error *err)
{
	Sandbox__Node__V1__SearchFilesRequest *r = (void *)m;

	if (r->pattern.len == 0) {
		err_field(err, "pattern", "pattern: 1 to %d bytes",
			  PATTERN_MAX);
		return NULL;
	}
	if (check_bytes(&r->pattern, PATTERN_MAX, true, "pattern", err) < 0 ||
	    check_path(&r->path, true, "path", err) < 0 ||
	    check_bytes(&r->file_glob, CHECK_NAME_MAX, true, "file_glob",
			err) < 0 ||
	    check_range(r->max_matches, 0, LIST_MAX, "max_matches", err) < 0)
		return NULL;
	p->limit = r->max_matches ? r->max_matches : LIST_DEFAULT;
	return &r->sandbox_id;
}

static int search_answer(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__SearchFilesResponse *r = (void *)m;

	if (r->n_matches > p->limit - p->items)
		return err_set(err, ERR_INVALID, "more matches than asked for");
	p->items += (uint32_t)r->n_matches;
	for (size_t i = 0; i < r->n_matches; i++) {
		/* Empty: what was searched is a file itself. */
		if (check_path(&r->matches[i]->path, true, "path", err) < 0 ||
		    check_bytes(&r->matches[i]->line, MATCH_LINE_MAX, false, "line",
				err) < 0)
			return -1;
	}
	return 0;
}

const struct proxy_method file_methods[] = {
	{ .name = "ReadFile",
	  .request = NODE(read_file_request),
	  .response = NODE(read_file_response),
	  .server_streams = true,
	  .first = read_first,
	  .answer = read_answer },
	{ .name = "WriteFile",
	  .request = NODE(write_file_request),
	  .response = NODE(write_file_response),
	  .client_streams = true,
	  .first = write_first,
	  .more = write_more,
	  .answer = write_answer,
	  .ended = write_ended },
	{ .name = "StatFile",
	  .request = NODE(stat_file_request),
	  .response = NODE(stat_file_response),
	  .first = stat_first,
	  .answer = stat_answer },
	{ .name = "ListDirectory",
	  .request = NODE(list_directory_request),
	  .response = NODE(list_directory_response),
	  .first = list_first,
	  .answer = list_answer },
	{ .name = "MakeDirectory",
	  .request = NODE(make_directory_request),
	  .response = NODE(make_directory_response),
	  .first = make_first,
	  .answer = no_answer,
	  .ended = make_ended },
	{ .name = "RemoveFile",
	  .request = NODE(remove_file_request),
	  .response = NODE(remove_file_response),
	  .first = remove_first,
	  .answer = no_answer,
	  .ended = remove_ended },
	{ .name = "MoveFile",
	  .request = NODE(move_file_request),
	  .response = NODE(move_file_response),
	  .first = move_first,
	  .answer = no_answer,
	  .ended = move_ended },
	{ .name = "WatchDirectory",
	  .request = NODE(watch_directory_request),
	  .response = NODE(watch_directory_response),
	  .server_streams = true,
	  .first = watch_first,
	  .answer = watch_answer,
	  .sent = watch_sent },
	{ .name = "SearchFiles",
	  .request = NODE(search_files_request),
	  .response = NODE(search_files_response),
	  .server_streams = true,
	  .first = search_first,
	  .answer = search_answer },
	{ 0 },
};
