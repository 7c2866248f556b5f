/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.c - the process around the engine: signals, systemd, start and stop
 *
 * SIGTERM and SIGINT: no new calls; what is under way may end, for at most
 * [node] stop_timeout; then the process goes. Guests run on. SIGHUP reads the
 * configuration again and takes what may change while running.
 */
#include "engine/daemon.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/startup_pages.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/engine.h"
#include "engine/hv/hv_libvirt.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

/* Longer than the unit's TimeoutStartSec. */
#define START_WATCHDOG_US (600ull * 1000 * 1000)

struct daemon {
	const char *path;
	struct config *config;
	struct loop *loop;
	struct job_pool *jobs;
	struct engine *engine;
	sd_event_source *stop_timer;
	bool stopping;
};

/* Until the engine is there, what libvirt tells is kept by nobody: recovery
 * asks for everything anyway.
 */
static void guest_gone(const char *uuid, void *arg)
{
	struct daemon *d = arg;

	if (d->engine)
		engine_guest_gone(uuid, d->engine);
}

static void hv_link(bool up, void *arg)
{
	struct daemon *d = arg;

	if (d->engine)
		engine_hv_link(up, d->engine);
}

static void stop_now(void *arg)
{
	struct daemon *d = arg;

	loop_stop(d->loop, 0);
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si,
		   void *arg)
{
	struct daemon *d = arg;

	(void)s;
	if (d->stopping) {
		loop_stop(d->loop, 0);
		return 0;
	}
	d->stopping = true;
	log_id(LOG_LEVEL_INFO, LOG_ID_STOPPING, "stopping (%s); guests run on",
		 sigabbrev_np((int)si->ssi_signo));
	sd_notify(0, "STOPPING=1");
	loop_timer(d->loop, &d->stop_timer,
		   loop_now_ms() + d->config->stop_timeout_ms, stop_now, d);
	engine_close(d->engine, stop_now, d);
	return 0;
}

static int on_reload(sd_event_source *s, const struct signalfd_siginfo *si,
		     void *arg)
{
	struct daemon *d = arg;
	struct config *fresh;
	struct error err;
	char later[512];

	(void)s;
	(void)si;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)loop_now_ms() * 1000);
	if (config_load(d->path, true, &fresh, &err) < 0) {
		log_id(LOG_LEVEL_ERR, LOG_ID_CONFIG_REFUSED,
		       "the configuration stays as it was: %s", err.msg);
	} else {
		config_reload(d->config, fresh, later, sizeof(later));
		engine_reloaded(d->engine);
		log_info("the configuration was read again");
		if (later[0])
			log_warn("what needs a restart stays as it was: %s",
				 later);
	}
	sd_notify(0, "READY=1");
	return 0;
}

static int listen_to_signals(struct daemon *d, struct error *err)
{
	sd_event *event = loop_event(d->loop);
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	/* Before any thread is made: they inherit it. */
	r = -sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, on_stop, d);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGINT, on_stop, d);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGHUP, on_reload, d);
	return r < 0 ? err_sys(err, -r, "listen to signals") : 0;
}

static int make_hv(struct daemon *d, struct hv **ret, struct error *err)
{
	const struct config *c = d->config;
	_cleanup_free_ char *dir = c->kernel_dir ?
					   xstrdup(c->kernel_dir) :
					   xasprintf("%s/kernel", c->state_dir);
	_cleanup_free_ char *kernel = xasprintf("%s/vmlinuz", dir);
	_cleanup_free_ char *initrd = xasprintf("%s/initrd.img", dir);
	_cleanup_free_ char *name = xasprintf("%s/version", dir);
	_cleanup_free_ char *version = NULL;
	size_t len;
	int r = fd_read_file(AT_FDCWD, name, 256, &version, &len);
	struct hv_libvirt_config hv = {
		.uri = c->libvirt_uri,
		.accelerator = c->accelerator == CONFIG_ACCEL_KVM ? PROBE_KVM :
			       c->accelerator == CONFIG_ACCEL_TCG ? PROBE_TCG :
								    PROBE_AUTO,
		.probe_ms = c->boot_timeout_ms,
		.mechanism =
			c->mechanism == CONFIG_MECHANISM_CLONE ?
				HV_MECHANISM_CLONE :
			c->mechanism == CONFIG_MECHANISM_LIBVIRT ?
				HV_MECHANISM_LIBVIRT :
				HV_MECHANISM_AUTO,
		.kernel = kernel,
		.initrd = initrd,
		.cmdline = "console=ttyS0 quiet panic=-1 "
			   "sandbox.root=/dev/vda",
		.state_dir = c->state_dir,
		.gid = c->uid_base - 1,
		.disk_mbps = c->disk_mbps,
		.disk_iops = c->disk_iops,
	};

	if (r < 0)
		return err_sys(err, -r, "read the guests' kernel's version, "
			       "'%s'", name);
	version[strcspn(version, "\n")] = '\0';
	hv.kernel_version = version;
	return hv_libvirt_new(&hv, d->loop, guest_gone, hv_link, d, ret, err);
}

static int start(struct daemon *d, struct error *err)
{
	struct hv *hv;

	if (loop_new(&d->loop, err) < 0 || listen_to_signals(d, err) < 0)
		return -1;
	if (mkdir(d->config->state_dir, 0711) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make '%s'", d->config->state_dir);
	if (job_pool_new(d->loop, d->config->workers, &d->jobs, err) < 0 ||
	    make_hv(d, &hv, err) < 0)
		return -1;
	if (hv->info.accelerator == HV_ACCEL_TCG)
		log_id(LOG_LEVEL_WARN, LOG_ID_EMULATED,
		       "guests are EMULATED (TCG): slow, and NOT a security "
			 "boundary");
	return engine_new(d->loop, d->jobs, d->config, hv, &d->engine, err);
}

static void stop(struct daemon *d)
{
	if (d->engine)
		engine_halt(d->engine);
	job_pool_free(d->jobs);
	engine_free(d->engine);
	d->engine = NULL;
	sd_event_source_disable_unref(d->stop_timer);
	loop_free(d->loop);
	config_free(d->config);
}

/*
 * Nobody strokes the watchdog before the loop runs, and the probe for KVM may
 * take a minute: until then systemd's own limit of a start watches us.
 */
static void tell_starting(void)
{
	if (sd_watchdog_enabled(0, NULL) > 0)
		sd_notifyf(0, "WATCHDOG_USEC=%llu",
			   (unsigned long long)START_WATCHDOG_US);
}

static void tell_ready(void)
{
	uint64_t us;

	if (sd_watchdog_enabled(0, &us) > 0)
		sd_notifyf(0, "READY=1\nWATCHDOG_USEC=%llu\nWATCHDOG=1",
			   (unsigned long long)us);
	else
		sd_notify(0, "READY=1");
}

int daemon_run(struct config *config, const char *path)
{
	struct daemon d = { .path = path, .config = config };
	struct error err;
	int r = 1;

	tell_starting();
	if (start(&d, &err) < 0) {
		log_id(LOG_LEVEL_ERR, LOG_ID_START_FAILED, "cannot start: %s",
		       err.msg);
	} else {
		/* Not before: its first sign of life is a promise to go on,
		 * and finding out whether KVM works may take long.
		 */
		sd_event_set_watchdog(loop_event(d.loop), true);
		tell_ready();
		log_id(LOG_LEVEL_INFO, LOG_ID_READY, "node '%s' is ready",
		       d.engine->node_id);
		startup_pages_drop();
		r = loop_run(d.loop) < 0 ? 1 : 0;
	}
	stop(&d);
	return r;
}
