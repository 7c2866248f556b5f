/* SPDX-License-Identifier: Apache-2.0 */
/* crash_node.c - a real engine in a process that can be killed
 *
 *	crash_node DIR STEP..
 *
 * A step is a word and its arguments in one string. Those of crash_calls.c are
 * calls of clients: "pause a r1" pauses sandbox a with request id r1; with "?"
 * in front it may fail, with "!" it must. What they were answered is printed at once:
 *
 *	answer pause ok HASH | answer pause err REASON TEXT
 *
 * The others: start, stop, settle, mark (crashpoint counts from here on),
 * unmark, restart, fault K MODE (of fake_virtd), check, poke ID TOKEN,
 * peek ID TOKEN, is ID STATE, finds N (by fsck), size ID FILE, flip ID FILE OFFSET,
 * spoil TABLE, live N, end (of everything), look (for guests that are gone),
 * pool N, taps (none left but those that stand ready), census.
 */
#include "crash_node.h"
#include "alloc_fault.h"
#include "fake_virt.h"
#include "mark.h"

#include "../unit/fakes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/hv/hv_libvirt.h"
#include "engine/net/net_taps.h"
#include "engine/pool.h"
#include "engine/recover_guest.h"
#include "engine/task.h"
#include "engine/templates.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 20000

struct node node;

void broken(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "BROKEN: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	_exit(1);
}

/* ---- the engine ---- */

static void guest_gone(const char *uuid, void *arg)
{
	(void)arg;
	if (node.e)
		engine_guest_gone(uuid, node.e);
}

static void hv_link(bool up, void *arg)
{
	(void)arg;
	if (node.e)
		engine_hv_link(up, node.e);
}

static struct config *configure(void)
{
	const char *extra = getenv("CRASH_CONFIG");
	struct config *config;
	struct error err;
	char *text;

	text = xasprintf(
		"[node]\nstate_dir = %s/state\nrun_dir = %s/run\n"
		"workers = 2\n[api]\nuser = nobody\n"
		"[guest]\naccelerator = tcg\nuid_base = 700000\n"
		"[network]\nresolver_user = nobody\nsplice_user = nobody\n"
		"range = 10.99.0.0/24\n"
		"[paths]\nlibexec = %s\n"
		"[limits]\nvcpu_overcommit = 999\n"
		"memory_overcommit = 999\ndisk_overcommit = 999\n"
		"disk_reserve_mib = 0\ncreate_rate = 10000\n"
		"create_burst = 10000\n[pool]\nrefill = 0\n%s",
		node.dir, node.dir, getenv("CRASH_BUILD"),
		extra ? extra : "min = 0\n");
	if (config_parse("crash", text, &config, &err) < 0)
		broken("%s", err.msg);
	free(text);
	return config;
}

/* What "kernel" said last: another one makes other templates. */
static const char *kernel_version(void)
{
	_cleanup_free_ char *path = xasprintf("%s/kernel", node.dir);
	_cleanup_free_ char *text = NULL;
	static char version[32];

	if (fd_read_file(AT_FDCWD, path, sizeof(version) - 1, &text, NULL) < 0)
		return "crash-1";
	snprintf(version, sizeof(version), "%s", text);
	return version;
}

void node_start(void)
{
	char *virtd = getenv("CRASH_VIRTD");
	char *state = xasprintf("%s/state", node.dir);
	struct hv_libvirt_config hv_config = {
		.uri = "fake:///",
		.accelerator = PROBE_TCG,
		.vsock = HV_VSOCK_NO,
		.mechanism = HV_MECHANISM_CLONE,
		.qemu = virtd,
		.qemu_img = virtd,
		.kernel = "/boot/kernel",
		.initrd = "/boot/initrd",
		.cmdline = "quiet",
		.kernel_version = kernel_version(),
		.state_dir = state,
		.gid = 699999,
		.workers = 2,
	};
	struct error err = { 0 };
	struct hv *hv;

	node.config = configure();
	if (node.config->mechanism == CONFIG_MECHANISM_LIBVIRT)
		hv_config.mechanism = HV_MECHANISM_LIBVIRT;
	mkdir(state, 0711);
	if (loop_new(&node.loop, &err) < 0 ||
	    job_pool_new(node.loop, 2, &node.jobs, &err) < 0 ||
	    hv_libvirt_new(&hv_config, node.loop, guest_gone, hv_link, NULL,
			   &hv, &err) < 0 ||
	    engine_new(node.loop, node.jobs, node.config, hv, &node.e, &err) <
		    0)
		broken("cannot start: %s", err.msg);
	free(state);
}

void node_stop(void)
{
	struct engine *e = node.e;

	engine_halt(e);
	job_pool_free(node.jobs);
	engine_free(e);
	node.e = NULL;
	loop_free(node.loop);
	config_free(node.config);
}

void node_tick(void)
{
	sd_event_run(loop_event(node.loop), 20000);
}

static bool has_trash(void)
{
	static const char *const dirs[] = { "guests", "snapshots",
					    "templates" };

	for (size_t i = 0; i < 3; i++) {
		char path[PATH_MAX];
		struct dirent *entry;
		bool found = false;
		DIR *d;

		engine_path(node.e, dirs[i], "", path, sizeof(path));
		d = opendir(path);
		while (d && (entry = readdir(d)))
			found = found || !strncmp(entry->d_name, ".trash", 6);
		closedir(d);
		if (found)
			return true;
	}
	return false;
}

static const char *what_is_under_way(void)
{
	static char text[160];
	struct engine *e = node.e;

	if (!e->hv_up)
		return "connecting to libvirt";
	if (!e->front_up || e->recovering || !e->swept)
		return "recovery";
	list_for_each (&e->tasks, t, struct task, link) {
		snprintf(text, sizeof(text), "task %s%s at %zu: %.80s",
			 t->kind->name, t->undoing ? " (undoing)" : "", t->at,
			 t->err.msg);
		return text;
	}
	list_for_each (&e->sandboxes.all, sb, struct sandbox, link)
		if (sb->row.state == SBX_RUNNING && !sb->attached) {
			snprintf(text, sizeof(text), "the agent of %s",
				 sb->row.id);
			return text;
		}
	if (e->merge)
		return "a merge";
	return e->refilling ? "a refill" : has_trash() ? "trash" : NULL;
}

void node_settle(void)
{
	uint64_t end = loop_now_ms() + PATIENCE_MS;
	const char *what;

	while ((what = what_is_under_way())) {
		/* What could not be deleted is left to the next start. */
		if (loop_now_ms() > end - PATIENCE_MS + 1000 &&
		    !strcmp(what, "trash"))
			return;
		if (loop_now_ms() > end)
			broken("still under way: %s", what);
		node_tick();
	}
}

bool node_call(const char *method, const ProtobufCMessage *m, int fd)
{
	uint64_t id = ++node.next_id, end = loop_now_ms() + PATIENCE_MS;
	size_t len;
	uint8_t *packed = pb_pack(m, &len);

	world.front_ops->call(id, method, "uid:0", packed, len, &fd, node.e);
	free(packed);
	while (!world.answered[id]) {
		if (loop_now_ms() > end)
			broken("%s has no answer", method);
		node_tick();
	}
	return world.answered[id] == 1;
}

/* ---- steps ---- */

static void look(void)
{
	recover_guest_look_at_all(node.e);
	for (uint64_t end = loop_now_ms() + 200; loop_now_ms() < end;)
		node_tick();
	node_settle();
}

static void wait_for_pool(uint32_t n)
{
	uint64_t end = loop_now_ms() + PATIENCE_MS;

	while (pool_ready(node.e, NULL) < n) {
		if (loop_now_ms() > end)
			broken("the pool is not filled");
		node_tick();
	}
	node_settle();
}

static size_t count_taps(void)
{
	DIR *d = opendir("/sys/class/net");
	struct dirent *entry;
	size_t n = 0;

	while (d && (entry = readdir(d)))
		n += !strncmp(entry->d_name, "sbx", 3);
	closedir(d);
	return n;
}

/* Some stand ready; what guests and earlier lives left goes one by one. */
static void wait_for_taps(void)
{
	uint64_t end = loop_now_ms() + PATIENCE_MS;

	while (count_taps() > NET_TAPS_AHEAD) {
		if (loop_now_ms() > end)
			broken("%zu taps and no guest", count_taps());
		usleep(20000);
		node_tick();
	}
}

static void set_fault(const char *k, const char *mode)
{
	free(fake_virt_ask(-1, "fault %s %s", k, mode));
}

static void tell_count(void)
{
	char *text = fake_virt_ask(-1, "count");

	printf("count %s\n", text ? text : "?");
	free(text);
}

static void tell_size(const char *id, const char *file)
{
	struct sandbox *sb = sandbox_find(&node.e->sandboxes, id);
	char dir[PATH_MAX], *path;
	struct stat st;

	engine_path(node.e, "snapshots", sb ? sb->row.snapshot_id : "none", dir,
		    sizeof(dir));
	path = xasprintf("%s/%s", dir, file);
	if (stat(path, &st) < 0)
		broken("'%s' is not there", path);
	printf("size %lld\n", (long long)st.st_size);
	free(path);
}

static bool run_step(const char *name, char *const *a)
{
	if (!strcmp(name, "start"))
		node_start();
	else if (!strcmp(name, "stop"))
		node_stop();
	else if (!strcmp(name, "settle"))
		node_settle();
	else if (!strcmp(name, "mark"))
		crash_mark(1), alloc_fault_begin();
	else if (!strcmp(name, "unmark"))
		crash_mark(0), alloc_fault_end();
	else if (!strcmp(name, "restart"))
		node_stop(), node_start(), node_settle();
	else if (!strcmp(name, "fault") && a[0] && a[1])
		set_fault(a[0], a[1]);
	else if (!strcmp(name, "count"))
		tell_count();
	else if (!strcmp(name, "check"))
		check_state();
	else if (!strcmp(name, "poke") && a[0] && a[1])
		check_token(a[0], a[1], true);
	else if (!strcmp(name, "peek") && a[0] && a[1])
		check_token(a[0], a[1], false);
	else if (!strcmp(name, "is") && a[0] && a[1])
		check_is(a[0], a[1]);
	else if (!strcmp(name, "size") && a[0] && a[1])
		tell_size(a[0], a[1]);
	else if (!strcmp(name, "finds") && a[0])
		check_finds(strtoul(a[0], NULL, 10));
	else if (!strcmp(name, "flip") && a[0] && a[1] && a[2])
		flip(a[0], a[1], a[2]);
	else if (!strcmp(name, "spoil") && a[0])
		spoil(a[0]);
	else if (!strcmp(name, "live") && a[0])
		check_live(strtoul(a[0], NULL, 10));
	else if (!strcmp(name, "look"))
		look();
	else if (!strcmp(name, "pool") && a[0])
		wait_for_pool((uint32_t)strtoul(a[0], NULL, 10));
	else if (!strcmp(name, "taps"))
		wait_for_taps();
	else if (!strcmp(name, "census"))
		print_census();
	else
		return run_call(name, a);
	return true;
}

int main(int argc, char **argv)
{
	world_reset();
	if (argc < 3)
		return 2;
	node.dir = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_open("crash", LOG_LEVEL_INFO);
	for (int i = 2; i < argc; i++) {
		char *words[8] = { NULL }, *at, *step = strdup(argv[i]);
		size_t n = 0;

		for (char *w = strtok_r(step, " ", &at); w && n < 7;
		     w = strtok_r(NULL, " ", &at))
			words[n++] = w;
		if (n == 0 || !run_step(words[0], words + 1))
			broken("no step '%s'", argv[i]);
		free(step);
	}
	/* As a daemon ends: no undoing, nothing freed that matters. */
	if (node.e)
		node_stop();
	return 0;
}
