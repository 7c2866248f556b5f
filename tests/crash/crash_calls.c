/* SPDX-License-Identifier: Apache-2.0 */
/* crash_calls.c - the steps that are calls of clients */
#include "crash_node.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/merge.h"
#include "engine/pool.h"
#include "engine/saves.h"
#include "engine/templates.h"
#include "../unit/fakes.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODE(name, NAME)                                                       \
	Sandbox__Node__V1__##name##Request m =                                 \
		SANDBOX__NODE__V1__##NAME##_REQUEST__INIT
#define TEXT(s) ((char *)(uintptr_t)((s) ? (s) : ""))

/* The answer, for who compares. */
static bool ask(const char *step, const char *method, const ProtobufCMessage *m,
		int fd)
{
	bool ok = node_call(method, m, fd);
	uint64_t h = 1469598103934665603ull;

	for (size_t i = 0; ok && i < world.answer_len; i++)
		h = (h ^ world.answer[i]) * 1099511628211ull;
	if (ok)
		printf("answer %s ok %016llx\n", step, (unsigned long long)h);
	else
		printf("answer %s err %s %s\n", step,
		       err_reason_of(&world.answer_err), world.answer_err.msg);
	return ok;
}

static bool create(char *const *a)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	Sandbox__Node__V1__Resources r = SANDBOX__NODE__V1__RESOURCES__INIT;

	/* Of another size: from a template of its own. */
	r.memory_mib = strncmp(a[0], "large", 5) ? 2048 : 3072;
	m.resources = &r;
	m.image = TEXT("base");
	m.sandbox_id = TEXT(a[0]);
	m.request_id = TEXT(a[1]);
	m.no_idle_pause = true;
	m.timeout_ms = 3600000;
	return ask("create", "CreateSandbox", &m.base, -1);
}

static bool pause_it(char *const *a)
{
	NODE(PauseSandbox, PAUSE_SANDBOX);

	m.sandbox_id = TEXT(a[0]);
	m.request_id = TEXT(a[1]);
	return ask("pause", "PauseSandbox", &m.base, -1);
}

static bool resume(char *const *a)
{
	NODE(ResumeSandbox, RESUME_SANDBOX);

	m.sandbox_id = TEXT(a[0]);
	m.request_id = TEXT(a[1]);
	return ask("resume", "ResumeSandbox", &m.base, -1);
}

static bool terminate(char *const *a)
{
	NODE(TerminateSandbox, TERMINATE_SANDBOX);

	m.sandbox_id = TEXT(a[0]);
	m.request_id = TEXT(a[1]);
	return ask("terminate", "TerminateSandbox", &m.base, -1);
}

static bool snapshot(char *const *a)
{
	NODE(CreateSnapshot, CREATE_SNAPSHOT);

	m.sandbox_id = TEXT(a[0]);
	m.name = TEXT(a[1]);
	m.request_id = TEXT(a[2]);
	return ask("snapshot", "CreateSnapshot", &m.base, -1);
}

static bool remove_snapshot(char *const *a)
{
	NODE(RemoveSnapshot, REMOVE_SNAPSHOT);

	m.snapshot_id = TEXT(a[0]);
	m.request_id = TEXT(a[1]);
	return ask("rmsnapshot", "RemoveSnapshot", &m.base, -1);
}

static bool restore(char *const *a)
{
	NODE(RestoreSandbox, RESTORE_SANDBOX);

	m.sandbox_id = TEXT(a[0]);
	m.snapshot_id = TEXT(a[1]);
	m.request_id = TEXT(a[2]);
	return ask("restore", "RestoreSandbox", &m.base, -1);
}

static bool fork_it(char *const *a)
{
	NODE(ForkSandbox, FORK_SANDBOX);

	m.sandbox_id = TEXT(a[0]);
	m.count = 2;
	m.request_id = TEXT(a[1]);
	return ask("fork", "ForkSandbox", &m.base, -1);
}

/* Of a snapshot by its name. */
static bool fork_snapshot(char *const *a)
{
	NODE(ForkSandbox, FORK_SANDBOX);

	m.snapshot_id = TEXT(a[0]);
	m.count = 2;
	m.request_id = TEXT(a[1]);
	return ask("forksnap", "ForkSandbox", &m.base, -1);
}

/* ---- parcels, in a file beside the state directory ---- */

/* What a process of an earlier life still writes to is another file. */
static int open_parcel(bool create)
{
	_cleanup_free_ char *path = xasprintf("%s/parcel", node.dir);
	int fd;

	if (create)
		unlink(path);
	fd = open(path,
		  create ? O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC :
			   O_RDONLY | O_CLOEXEC,
		  0600);
	if (fd < 0 && !create)
		broken("cannot open '%s'", path);
	return fd; /* none: there is no stream then, and the call fails */
}

static bool export(char *const *a)
{
	NODE(ExportSnapshot, EXPORT_SNAPSHOT);

	m.snapshot_id = TEXT(a[0]);
	return ask("export", "ExportSnapshot", &m.base, open_parcel(true));
}

/* Not to be repeated as the same: each is another snapshot. */
static bool import_snapshot(char *const *a)
{
	NODE(ImportSnapshot, IMPORT_SNAPSHOT);
	bool ok = node_call("ImportSnapshot", &m.base, open_parcel(false));

	(void)a;
	printf("answer importsnap %s\n",
	       ok ? "ok 0" : err_reason_of(&world.answer_err));
	return ok;
}

/* ---- merge ---- */

static bool merge(char *const *a)
{
	struct sandbox *sb = sandbox_find(&node.e->sandboxes, a[0]);
	struct snapshot *s =
		sb ? snapshot_find(node.e, sb->row.snapshot_id) : NULL;
	char dir[PATH_MAX], second[PATH_MAX + 16];

	if (!s)
		broken("%s is not paused", a[0]);
	s->try_ms = 0;
	merge_next(node.e);
	while (node.e->merge)
		node_tick();
	engine_path(node.e, "snapshots", s->row.id, dir, sizeof(dir));
	snprintf(second, sizeof(second), "%s/disk.1.qcow2", dir);
	if (s->short_chain && access(second, F_OK) == 0)
		broken("it is merged, and '%s' is there", second);
	printf("answer merge %s\n", s->short_chain ? "ok 0" : "err");
	return s->short_chain;
}

static bool update(char *const *a)
{
	NODE(UpdateSandbox, UPDATE_SANDBOX);
	Sandbox__Node__V1__EgressPolicy egress =
		SANDBOX__NODE__V1__EGRESS_POLICY__INIT;
	Sandbox__Node__V1__EgressRule rule =
		SANDBOX__NODE__V1__EGRESS_RULE__INIT;
	Sandbox__Node__V1__EgressRule *rules[1] = { &rule };
	Google__Protobuf__UInt32Value timeout =
		GOOGLE__PROTOBUF__UINT32_VALUE__INIT;

	timeout.value = 7200000;
	rule.target = TEXT("198.51.100.0/24");
	egress.n_allow = 1;
	egress.allow = rules;
	m.timeout_ms = &timeout;
	m.egress = &egress;
	m.sandbox_id = TEXT(a[0]);
	m.request_id = TEXT(a[1]);
	return ask("update", "UpdateSandbox", &m.base, -1);
}

static bool expose(char *const *a)
{
	NODE(ExposePort, EXPOSE_PORT);

	m.sandbox_id = TEXT(a[0]);
	m.port = 80;
	m.request_id = TEXT(a[1]);
	return ask("expose", "ExposePort", &m.base, -1);
}

static bool close_port(char *const *a)
{
	NODE(ClosePort, CLOSE_PORT);

	m.sandbox_id = TEXT(a[0]);
	m.port = 80;
	m.request_id = TEXT(a[1]);
	return ask("close", "ClosePort", &m.base, -1);
}

static bool build(char *const *a)
{
	NODE(BuildTemplate, BUILD_TEMPLATE);

	m.image = TEXT("base");
	m.cpu = (uint32_t)strtoul(a[0], NULL, 10);
	m.memory_mib = 2048;
	m.request_id = TEXT(a[1]);
	return ask("template", "BuildTemplate", &m.base, -1);
}

/* For the operation that removes it. */
static bool know(char *const *a)
{
	_cleanup_free_ char *path = xasprintf("%s/template%s", node.dir, a[0]);
	struct error err;

	list_for_each (&node.e->templates, t, struct template, link)
		if (t->row.cpu == strtoul(a[0], NULL, 10) &&
		    fd_replace_file(AT_FDCWD, path, t->row.id,
				    strlen(t->row.id), 0600, &err) < 0)
			broken("%s", err.msg);
	return true;
}

static bool kernel(char *const *a)
{
	_cleanup_free_ char *path = xasprintf("%s/kernel", node.dir);
	struct error err;

	if (fd_replace_file(AT_FDCWD, path, a[0], strlen(a[0]), 0600, &err) < 0)
		broken("%s", err.msg);
	return true;
}

static bool remove_template_id(const char *id, const char *request)
{
	NODE(RemoveTemplate, REMOVE_TEMPLATE);

	m.template_id = TEXT(id);
	m.request_id = TEXT(request);
	return ask("rmtemplate", "RemoveTemplate", &m.base, -1);
}

static bool remove_template(char *const *a)
{
	_cleanup_free_ char *path = xasprintf("%s/template%s", node.dir, a[0]);
	_cleanup_free_ char *id = NULL;
	size_t len;

	if (fd_read_file(AT_FDCWD, path, 100, &id, &len) < 0)
		broken("no template was built");
	return remove_template_id(id, a[1]);
}

/* NAME.tar through a pipe, as front hands it over. */
static bool import(char *const *a)
{
	NODE(ImportImage, IMPORT_IMAGE);
	Sandbox__Node__V1__ImportImageStart start =
		SANDBOX__NODE__V1__IMPORT_IMAGE_START__INIT;
	_cleanup_free_ char *path =
		xasprintf("%s/%s.tar", getenv("CRASH_ARCHIVES"), a[0]);
	_cleanup_free_ char *data = NULL;
	int fds[2];
	size_t len;

	start.name = TEXT(a[0]);
	start.request_id = TEXT(a[1]);
	m.input_case = SANDBOX__NODE__V1__IMPORT_IMAGE_REQUEST__INPUT_START;
	m.start = &start;
	if (fd_read_file(AT_FDCWD, path, 60000, &data,
			 &len) < 0 ||
	    pipe2(fds, O_CLOEXEC) < 0 || fd_write_full(fds[1], data, len) < 0)
		broken("no archive");
	close(fds[1]);
	return ask("import", "ImportImage", &m.base, fds[0]);
}

static bool remove_image(char *const *a)
{
	NODE(RemoveImage, REMOVE_IMAGE);

	m.name = TEXT(a[0]);
	m.request_id = TEXT(a[1]);
	return ask("rmimage", "RemoveImage", &m.base, -1);
}

static bool drain(char *const *a)
{
	NODE(DrainNode, DRAIN_NODE);

	m.request_id = TEXT(a[0]);
	m.pause_all = true;
	m.deadline_ms = 10000;
	return ask("drain", "DrainNode", &m.base, -1);
}

/* What front does around a client's Exec: wakes it, tells, gives back. */
static bool exec(char *const *a)
{
	static const struct front_pair data[] = { { "command", "true" } };
	uint64_t id = ++node.next_id, end = loop_now_ms() + 20000;
	Sandbox__Ipc__V1__AcquireResponse *r;

	world.front_ops->acquire(id, a[0], "uid:0", node.e);
	while (!world.answered[id]) {
		if (loop_now_ms() > end)
			broken("acquire has no answer");
		node_tick();
	}
	if (world.answered[id] != 1) {
		printf("answer exec err %s\n", world.answer_err.msg);
		return false;
	}
	r = sandbox__ipc__v1__acquire_response__unpack(NULL, world.answer_len,
						       world.answer);
	world.front_ops->event(a[0], "exec.started", data, 1, node.e);
	world.front_ops->event(a[0], "exec.completed", data, 1, node.e);
	world.front_ops->release(r ? r->lease : 0, node.e);
	printf("answer exec ok 0\n");
	if (r)
		sandbox__ipc__v1__acquire_response__free_unpacked(r, NULL);
	return true;
}

static struct sandbox *first_live(void)
{
	const struct sandboxes *s = &node.e->sandboxes;

	return s->n_live ? s->live[0].sb : NULL;
}

/* Terminate all, remove what was made beside: as if nothing had been. */
static bool end(char *const *a)
{
	bool ok = true;

	(void)a;
	for (struct sandbox *sb = first_live(); sb && ok; sb = first_live()) {
		char *const args[] = { sb->row.id, NULL };

		ok = terminate(args);
	}
	for (bool again = true; again;) {
		again = false;
		list_for_each (&node.e->snapshots, s, struct snapshot, link) {
			char *const args[] = { s->row.id, NULL };

			if (s->removed || s->row.internal)
				continue;
			ok = remove_snapshot(args) && ok;
			again = true;
			break;
		}
	}
	while (pool_shrink(node.e))
		node_settle();
	if (image_by_name(node.e->images, "extra"))
		ok = remove_image((char *const[]){ (char *)"extra", NULL }) &&
		     ok;
	/* Those of snapshots from elsewhere go with the last of these. */
	node_settle();
	for (bool again = true; again;) {
		again = false;
		list_for_each (&node.e->templates, t, struct template, link) {
			if (t->row.cpu == 2 && t->row.memory_mib == 2048 &&
			    template_is_current(node.e, t))
				continue;
			ok = remove_template_id(t->row.id, NULL) && ok;
			again = ok;
			break;
		}
	}
	node_settle();
	return ok;
}

static const struct {
	const char *name;
	bool (*run)(char *const *a);
} calls[] = {
	{ "create", create },
	{ "pause", pause_it },
	{ "resume", resume },
	{ "terminate", terminate },
	{ "snapshot", snapshot },
	{ "rmsnapshot", remove_snapshot },
	{ "restore", restore },
	{ "fork", fork_it },
	{ "forksnap", fork_snapshot },
	{ "export", export },
	{ "importsnap", import_snapshot },
	{ "merge", merge },
	{ "update", update },
	{ "expose", expose },
	{ "close", close_port },
	{ "template", build },
	{ "know", know },
	{ "kernel", kernel },
	{ "import", import },
	{ "rmtemplate", remove_template },
	{ "rmimage", remove_image },
	{ "exec", exec },
	{ "drain", drain },
	{ "end", end },
};

bool run_call(const char *name, char *const *a)
{
	bool must_fail = name[0] == '!';
	bool may_fail = name[0] == '?' || must_fail;

	name += may_fail;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(calls[i].name, name) != 0)
			continue;
		if (calls[i].run(a)) {
			if (must_fail)
				broken("%s did not fail", name);
		} else if (!may_fail) {
			broken("%s failed: %s", name, world.answer_err.msg);
		}
		return true;
	}
	return false;
}
