/* SPDX-License-Identifier: Apache-2.0 */
/* hv_driver.c - hv_libvirt's operations from the command line, for hv_*.sh
 *
 * usage: hv_driver [OPTION]... COMMAND UUID [TEMPLATE [SNAPSHOT]]
 *
 * Settings come from the environment: HV_URI HV_KERNEL HV_INITRD HV_STATE
 * HV_IMAGE HV_ROOT (guests' directories are below it), and optionally HV_UID
 * HV_TAP HV_CPU HV_MEMORY HV_DISK (MiB) HV_ACCEL (auto, kvm or tcg). "-" for TEMPLATE means none.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/hv/hv_libvirt.h"
#include "engine/snapshot/template.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LINK_WAIT_MS  20000
#define REPLY_WAIT_MS 20000
#define ASK_AGAIN_MS  4000

struct run {
	struct loop *loop;
	struct hv *hv;
	struct guest_spec spec;
	const char *command, *template_dir, *snapshot_dir;
	pthread_t thread;
	bool started;
	int code;
	sd_event_source *timer;
};

static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

static uint32_t number(const char *name, uint32_t otherwise)
{
	const char *value = getenv(name);

	return value && *value ? (uint32_t)strtoul(value, NULL, 10) : otherwise;
}

/* Lines from the guest until one that begins with @tag: 1, and what is behind
 * it is in @line; 0: none within the time; -1.
 */
static int read_tagged(int fd, const char *tag, char *line, size_t size,
		       uint64_t deadline, struct error *err)
{
	size_t have = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = loop_now_ms();
		ssize_t n;

		if (now >= deadline || poll(&p, 1, (int)(deadline - now)) == 0)
			return 0;
		n = read(fd, line + have, 1);
		if (n <= 0)
			return err_set(err, ERR_UNAVAILABLE,
				       "the guest hung up");
		if (line[have] != '\n') {
			have += have + 2 < size;
			continue;
		}
		line[have] = '\0';
		have = 0;
		if (strncmp(line, tag, strlen(tag)) == 0)
			return 1;
	}
}

/* Each line of stdin goes to the guest's agent channel, one comes back. What
 * was on its way when a connection or a guest's life was cut is lost or comes
 * late: a tag tells answers apart, and silence asks again.
 */
static int talk(struct run *run, struct error *err)
{
	_cleanup_close_ int fd = -EBADF;
	char line[4096];

	if (run->hv->ops->open_agent(run->hv, &run->spec, &fd, err) < 0)
		return -1;
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t deadline = loop_now_ms() + REPLY_WAIT_MS;
		_cleanup_free_ char *question = NULL;
		char tag[32], reply[4096];
		int r = 0;

		snprintf(tag, sizeof(tag), "#%llx ",
			 (unsigned long long)loop_now_ms());
		question = xasprintf("\n%s%s", tag, line);
		while (r == 0) {
			uint64_t now = loop_now_ms();

			if (now > deadline)
				return err_set(err, ERR_TIMEOUT,
					       "the guest says nothing");
			if (write(fd, question, strlen(question)) < 0)
				return err_sys(err, errno,
					       "write to the guest");
			r = read_tagged(fd, tag, reply, sizeof(reply),
					now + ASK_AGAIN_MS, err);
		}
		if (r < 0)
			return -1;
		puts(reply + strlen(tag));
	}
	return 0;
}

static int command_list(struct hv *hv, struct error *err)
{
	_cleanup_free_ char(*uuids)[HV_UUID_SIZE] = NULL;
	int n = hv->ops->list(hv, &uuids, err);

	for (int i = 0; i < n; i++)
		puts(uuids[i]);
	return n < 0 ? -1 : 0;
}

static int command_life(struct hv *hv, const char *uuid)
{
	static const char *const names[] = { "unknown", "gone", "running",
					     "stopped" };

	puts(names[hv->ops->life(hv, uuid)]);
	return 0;
}

static int command_stats(struct hv *hv, const char *uuid, struct error *err)
{
	uint64_t cpu_ms, memory;

	if (hv->ops->stats(hv, uuid, &cpu_ms, &memory, err) < 0)
		return -1;
	printf("%llu %llu\n", (unsigned long long)cpu_ms,
	       (unsigned long long)memory);
	return 0;
}

static int command_console(struct hv *hv, const char *uuid, struct error *err)
{
	static char text[65537];

	if (hv_libvirt_console(hv, uuid, text, sizeof(text), err) < 0)
		return -1;
	fputs(text, stdout);
	return 0;
}

static int command_save(struct run *run, bool keep, struct error *err)
{
	struct hv_progress progress = { 0 };
	uint64_t bytes = 0;

	if (run->hv->ops->save(run->hv, &run->spec, run->template_dir,
			       run->snapshot_dir, keep, &bytes, &progress,
			       err) < 0)
		return -1;
	printf("%llu bytes, %llu pages\n", (unsigned long long)bytes,
	       (unsigned long long)progress.done);
	return 0;
}

static int dispatch(struct run *run, struct error *err)
{
	const struct hv_ops *ops = run->hv->ops;
	const char *c = run->command;

	if (!strcmp(c, "start") || !strcmp(c, "hold"))
		return ops->start(run->hv, &run->spec, run->template_dir,
				  run->snapshot_dir, c[0] == 'h', err);
	if (!strcmp(c, "release"))
		return ops->release(run->hv, &run->spec, run->template_dir,
				    run->snapshot_dir, err);
	if (!strcmp(c, "save") || !strcmp(c, "save-running"))
		return command_save(run, c[4] == '-', err);
	if (!strcmp(c, "capture"))
		return ops->capture(run->hv, &run->spec, run->template_dir,
				    NULL, err);
	if (!strcmp(c, "destroy"))
		return ops->destroy(run->hv, run->spec.uuid, err);
	if (!strcmp(c, "talk"))
		return talk(run, err);
	if (!strcmp(c, "life"))
		return command_life(run->hv, run->spec.uuid);
	if (!strcmp(c, "list"))
		return command_list(run->hv, err);
	if (!strcmp(c, "stats"))
		return command_stats(run->hv, run->spec.uuid, err);
	if (!strcmp(c, "console"))
		return command_console(run->hv, run->spec.uuid, err);
	if (!strcmp(c, "verify"))
		return ops->verify(run->hv, run->snapshot_dir, err);
	if (!strcmp(c, "verify-template"))
		return template_verify(run->template_dir, err);
	return err_set(err, ERR_INVALID, "no command '%s'", c);
}

static void stop(void *arg)
{
	struct run *run = arg;

	loop_stop(run->loop, run->code);
}

/* Operations are for workers: the loop goes on meanwhile. */
static void *work(void *arg)
{
	struct run *run = arg;
	struct error err = { 0 };
	uint64_t began = loop_now_ms();
	int rc = dispatch(run, &err);

	if (rc < 0)
		fprintf(stderr, "%s: %s\n", err_reason_of(&err), err.msg);
	fprintf(stderr, "%s took %llu ms\n", run->command,
		(unsigned long long)(loop_now_ms() - began));
	run->code = rc < 0 ? 1 : 0;
	loop_post(run->loop, stop, run);
	return NULL;
}

static void on_gone(const char *uuid, void *arg)
{
	(void)arg;
	log_debug("guest '%s' may be gone", uuid);
}

static void begin(struct run *run)
{
	if (run->started)
		return;
	run->started = true;
	pthread_create(&run->thread, NULL, work, run);
}

static void on_link(bool up, void *arg)
{
	if (up)
		begin(arg);
}

/* Without libvirt: some operations must work all the same. */
static void on_no_link(void *arg)
{
	begin(arg);
}

static enum probe_wish accelerator(void)
{
	const char *wish = setting("HV_ACCEL", "tcg");

	if (!strcmp(wish, "auto"))
		return PROBE_AUTO;
	return !strcmp(wish, "kvm") ? PROBE_KVM : PROBE_TCG;
}

static int fill_spec(struct run *run, const char *uuid)
{
	struct guest_spec *spec = &run->spec;

	spec->cpu = number("HV_CPU", 1);
	spec->memory_mib = number("HV_MEMORY", 256);
	spec->disk_mib = number("HV_DISK", 64);
	spec->slot.uid = number("HV_UID", 60001);
	snprintf(spec->uuid, sizeof(spec->uuid), "%s", uuid);
	snprintf(spec->slot.tap, sizeof(spec->slot.tap), "%s",
		 setting("HV_TAP", ""));
	snprintf(spec->dir, sizeof(spec->dir), "%s/%s", setting("HV_ROOT", "."),
		 uuid);
	snprintf(spec->image_disk, sizeof(spec->image_disk), "%s",
		 setting("HV_IMAGE", ""));
	snprintf(spec->image_digest, sizeof(spec->image_digest), "sha256:test");
	return mkdir(spec->dir, 0700) < 0 && errno != EEXIST ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct hv_libvirt_config config = {
		.uri = setting("HV_URI", "qemu:///system"),
		.accelerator = accelerator(),
		.vsock = HV_VSOCK_NO,
		.kernel = setting("HV_KERNEL", "/vmlinuz"),
		.initrd = setting("HV_INITRD", "/initrd.img"),
		.cmdline = "console=ttyS0 quiet panic=-1",
		.kernel_version = "test",
		.state_dir = setting("HV_STATE", "."),
		.gid = number("HV_GID", 60000),
	};
	struct run run = { 0 };
	struct error err = { 0 };
	int code;

	if (argc < 3)
		return 2;
	run.command = argv[1];
	if (argc > 3 && strcmp(argv[3], "-") != 0)
		run.template_dir = argv[3];
	if (argc > 4)
		run.snapshot_dir = argv[4];
	log_open("hv_driver", LOG_LEVEL_INFO);
	if (fill_spec(&run, argv[2]) < 0 || loop_new(&run.loop, &err) < 0)
		return 2;
	loop_timer(run.loop, &run.timer,
		   loop_now_ms() + number("HV_LINK_WAIT_MS", LINK_WAIT_MS),
		   on_no_link, &run);
	if (hv_libvirt_new(&config, run.loop, on_gone, on_link, &run, &run.hv,
			   &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return 2;
	}
	code = loop_run(run.loop);
	pthread_join(run.thread, NULL);
	run.hv->ops->free(run.hv);
	sd_event_source_disable_unref(run.timer);
	loop_free(run.loop);
	return code;
}
