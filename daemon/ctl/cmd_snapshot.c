/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_snapshot.c - snapshot create, list, remove, export, import */
#include "ctl/ctl.h"

#include "ctl/progress.h"
#include "ctl/out.h"
#include "ctl/text.h"
#include "ctl/upload.h"

#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int cmd_create(struct ctl *ctl)
{
	NODE(CreateSnapshotRequest) req = NODE_INIT(CREATE_SNAPSHOT_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(CreateSnapshotResponse) * r;
	int status;

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	req.name = ctl_option(ctl, "name");
	m = ctl_call(ctl, "CreateSnapshot", &req.base, &status);
	if (!m)
		return status;
	r = (const NODE(CreateSnapshotResponse) *)m;
	if (ctl->json)
		ctl_print_json(m);
	else if (r->snapshot)
		puts(r->snapshot->id);
	return CTL_OK;
}

static void print_list(const NODE(ListSnapshotsResponse) * r)
{
	static const char *const head[] = { "ID",      "NAME",	  "SANDBOX",
					    "IMAGE",   "CREATED", "SIZE",
					    "PROBLEM", NULL };
	struct table *t = table_new(head);
	char time[CTL_TIME_MAX], size[TEXT_SIZE_MAX];

	for (size_t i = 0; i < r->n_snapshots; i++) {
		const NODE(Snapshot) *s = r->snapshots[i];

		table_cell(t, "%s", s->id);
		table_cell(t, "%s", *s->name ? s->name : "-");
		table_cell(t, "%s", s->sandbox_id);
		table_cell(t, "%s", s->image);
		table_cell(t, "%s", ctl_time(time, s->created_at));
		table_cell(t, "%s", text_size(size, s->size_bytes));
		table_cell(t, "%s", *s->problem ? s->problem : "-");
	}
	table_print(t, stdout);
	table_free(t);
	if (r->pagination && r->pagination->has_more)
		fprintf(stderr, "%zu of %u; --offset shows more\n",
			r->n_snapshots, r->pagination->total);
}

static int cmd_list(struct ctl *ctl)
{
	NODE(ListSnapshotsRequest) req = NODE_INIT(LIST_SNAPSHOTS_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	struct error err = { 0 };
	int status;

	if (options_words(ctl->options, NULL))
		req.sandbox_id = ctl_word(ctl, 0);
	if (options_u32(ctl->options, "limit", 1, 100, &req.limit, &err) < 0 ||
	    options_u32(ctl->options, "offset", 0, UINT32_MAX, &req.offset,
			&err) < 0)
		return ctl_usage(&err);
	m = ctl_call(ctl, "ListSnapshots", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json)
		ctl_print_json(m);
	else
		print_list((const NODE(ListSnapshotsResponse) *)m);
	return CTL_OK;
}

static int cmd_remove(struct ctl *ctl)
{
	NODE(RemoveSnapshotRequest) req = NODE_INIT(REMOVE_SNAPSHOT_REQUEST);

	req.request_id = ctl_request_id();
	req.snapshot_id = ctl_word(ctl, 0);
	return ctl_simple(ctl, "RemoveSnapshot", &req.base);
}

/* ---- export: a file that is there whole, or not at all ---- */

struct export
{
	int fd;
	uint64_t done;
	struct progress progress;
};

static int on_export(struct ctl *ctl, const ProtobufCMessage *m, void *arg)
{
	const NODE(ExportSnapshotResponse) *r =
		(const NODE(ExportSnapshotResponse) *)m;
	struct export *x = arg;
	int e = x->fd == STDOUT_FILENO
			? out_write(r->data.data, r->data.len)
			: fd_write_full(x->fd, r->data.data, r->data.len);

	(void)ctl;
	if (e < 0) {
		progress_clear(&x->progress);
		fprintf(stderr, "sandboxctl: write the snapshot: %s\n",
			strerror(-e));
		return -1;
	}
	x->done += r->data.len;
	progress_show(&x->progress, "exporting", x->done, 0);
	return 0;
}

static int export_to(struct ctl *ctl, struct export *x)
{
	NODE(ExportSnapshotRequest) req = NODE_INIT(EXPORT_SNAPSHOT_REQUEST);
	int status;

	req.snapshot_id = ctl_word(ctl, 0);
	status = ctl_stream(ctl, "ExportSnapshot", &req.base, on_export, x);
	progress_clear(&x->progress);
	return status;
}

static int cmd_export(struct ctl *ctl)
{
	const char *file = ctl_word(ctl, 1);
	_cleanup_free_ char *part = xasprintf("%s.part", file);
	struct export x = { .fd = STDOUT_FILENO };
	struct error err = { 0 };
	int status;

	if (strcmp(file, "-") == 0)
		return export_to(ctl, &x);
	/* A memory image holds secrets: for its owner only. */
	x.fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (x.fd < 0) {
		err_sys(&err, errno, "%s", part);
		return ctl_local(&err);
	}
	status = export_to(ctl, &x);
	if (status == CTL_OK && (fsync(x.fd) < 0 || rename(part, file) < 0)) {
		err_sys(&err, errno, "%s", file);
		status = ctl_local(&err);
	}
	if (status != CTL_OK)
		unlink(part);
	close(x.fd);
	return status;
}

/* ---- import ---- */

static const ProtobufCMessage *wrap(const uint8_t *data, size_t len)
{
	static NODE(ImportSnapshotRequest) req;

	sandbox__node__v1__import_snapshot_request__init(&req);
	req.data.data = (uint8_t *)(uintptr_t)data;
	req.data.len = len;
	return &req.base;
}

static void on_imported(struct upload *u, const ProtobufCMessage *m)
{
	const NODE(ImportSnapshotResponse) *r =
		(const NODE(ImportSnapshotResponse) *)m;

	progress_clear(&u->progress);
	if (u->ctl->json)
		ctl_print_json(m);
	else if (r->snapshot)
		puts(r->snapshot->id);
}

static int cmd_import(struct ctl *ctl)
{
	const char *file = ctl_word(ctl, 0);
	struct upload u = { .method = "ImportSnapshot",
			    .wrap = wrap,
			    .fd = STDIN_FILENO,
			    .what = file,
			    .answer = on_imported };
	_cleanup_close_ int fd = -EBADF;
	struct error err = { 0 };
	struct stat st;

	if (strcmp(file, "-") != 0) {
		fd = open(file, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0) {
			err_sys(&err, errno, "%s", file);
			return ctl_local(&err);
		}
		u.fd = fd;
		u.size = (uint64_t)st.st_size;
	}
	return upload_run(ctl, &u);
}

static const struct option_def create_options[] = {
	{ "name", 0, "N", false, "a name for it" },
	{ 0 },
};

static const struct option_def list_options[] = {
	{ "limit", 0, "N", false, "at most so many, 1 to 100" },
	{ "offset", 0, "N", false, "leave out the first" },
	{ 0 },
};

const struct command snapshot_commands[] = {
	{ "snapshot create", "ID [--name N]", "save a sandbox, print its id", 1,
	  1, false, create_options, cmd_create },
	{ "snapshot list", "[ID]", "list snapshots", 0, 1, false, list_options,
	  cmd_list },
	{ "snapshot remove", "SNAPSHOT", "delete one", 1, 1, false, NULL,
	  cmd_remove },
	{ "snapshot export", "SNAPSHOT FILE", "into a file for another node", 2,
	  2, false, NULL, cmd_export },
	{ "snapshot import", "FILE", "from such a file, print its id", 1, 1,
	  false, NULL, cmd_import },
	{ 0 },
};
