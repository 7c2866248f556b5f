/* SPDX-License-Identifier: Apache-2.0 */
/* fake_hv.c - hv.h over an array of guests */
#include "fakes.h"

#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* Locked by the caller. */
struct fake_guest *fake_hv_find(const char *uuid)
{
	for (size_t i = 0; i < world.n_guests; i++)
		if (!strcmp(world.guests[i].uuid, uuid))
			return &world.guests[i];
	return NULL;
}

static void add(const struct guest_spec *spec, const char *template_dir,
		const char *snapshot_dir, bool hold)
{
	struct fake_guest *g;

	pthread_mutex_lock(&world.lock);
	g = &world.guests[world.n_guests++];
	*g = (struct fake_guest){ .life = hold ? GUEST_LIFE_STOPPED
					       : GUEST_LIFE_RUNNING,
				  .held = hold };
	snprintf(g->uuid, sizeof(g->uuid), "%s", spec->uuid);
	snprintf(g->template_dir, sizeof(g->template_dir), "%.255s",
		 template_dir ? template_dir : "");
	snprintf(g->snapshot_dir, sizeof(g->snapshot_dir), "%.255s",
		 snapshot_dir ? snapshot_dir : "");
	pthread_mutex_unlock(&world.lock);
}

static void drop(const char *uuid)
{
	struct fake_guest *g;

	pthread_mutex_lock(&world.lock);
	g = fake_hv_find(uuid);
	if (g)
		*g = world.guests[--world.n_guests];
	pthread_mutex_unlock(&world.lock);
}

/* As template_open(): one with a file "altered" in it is put aside, if nothing
 * is in the way.
 */
static int check_template(const char *dir, struct error *err)
{
	char path[600];

	if (!dir)
		return 0;
	snprintf(path, sizeof(path), "%s/altered", dir);
	if (access(path, F_OK) == 0) {
		snprintf(path, sizeof(path), "%s.quarantined", dir);
		rename(dir, path);
		return err_set(err, ERR_DATA_LOSS, "'%s' is altered", dir);
	}
	return access(dir, F_OK) == 0 ?
		       0 :
		       err_set(err, ERR_NOT_FOUND, "no template '%s'", dir);
}

static int start(struct hv *hv, const struct guest_spec *spec,
		 const char *template_dir, const char *snapshot_dir, bool hold,
		 struct error *err)
{
	(void)hv;
	if (access(spec->dir, F_OK) < 0)
		return err_set(err, ERR_INTERNAL, "no directory");
	if (world_call(hold ? "hold" : "start", err) ||
	    check_template(template_dir, err) < 0)
		return -1;
	add(spec, template_dir, snapshot_dir, hold);
	return 0;
}

static int release(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   struct error *err)
{
	struct fake_guest *g;
	bool ok;

	(void)hv;
	(void)snapshot_dir;
	if (world_call("release", err) || check_template(template_dir, err) < 0)
		return -1;
	pthread_mutex_lock(&world.lock);
	g = fake_hv_find(spec->uuid);
	ok = g && g->held;
	if (ok) {
		g->held = false;
		g->life = GUEST_LIFE_RUNNING;
	}
	pthread_mutex_unlock(&world.lock);
	return ok ? 0 : err_set(err, ERR_INTERNAL, "no held guest");
}

static int open_agent(struct hv *hv, const struct guest_spec *spec, int *ret_fd,
		      struct error *err)
{
	struct fake_guest *g;
	bool ok;

	(void)hv;
	if (world_call("open_agent", err))
		return -1;
	pthread_mutex_lock(&world.lock);
	g = fake_hv_find(spec->uuid);
	ok = g && g->life == GUEST_LIFE_RUNNING;
	pthread_mutex_unlock(&world.lock);
	if (!ok)
		return err_set(err, ERR_UNAVAILABLE, "no running guest");
	*ret_fd = eventfd(0, EFD_CLOEXEC);
	return 0;
}

static int save(struct hv *hv, const struct guest_spec *spec,
		const char *template_dir, const char *snapshot_dir,
		bool keep_running, uint64_t *ret_bytes,
		struct hv_progress *progress, struct error *err)
{
	(void)hv;
	(void)progress;
	if (world_call("save", err) || check_template(template_dir, err) < 0)
		return -1;
	if (mkdir(snapshot_dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", snapshot_dir);
	*ret_bytes = 1000;
	if (!keep_running)
		drop(spec->uuid);
	return 0;
}

static int capture(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, struct hv_progress *progress,
		   struct error *err)
{
	(void)hv;
	(void)progress;
	drop(spec->uuid);
	if (world_call("capture", err))
		return -1;
	if (mkdir(template_dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", template_dir);
	return 0;
}

static int fake_wake(struct hv *hv, const struct guest_spec *spec,
		     const char *snapshot_dir, struct error *err)
{
	struct fake_guest *g;

	(void)hv;
	(void)snapshot_dir;
	(void)err;
	pthread_mutex_lock(&world.lock);
	g = fake_hv_find(spec->uuid);
	if (g)
		g->life = GUEST_LIFE_RUNNING;
	pthread_mutex_unlock(&world.lock);
	return 0;
}

static int destroy(struct hv *hv, const char *uuid, struct error *err)
{
	(void)hv;
	if (world.hv_hangs || world.destroy_fails)
		return err_set(err, ERR_UNAVAILABLE, "the kernel holds it");
	drop(uuid);
	return 0;
}

static enum guest_life life(struct hv *hv, const char *uuid)
{
	enum guest_life l = GUEST_LIFE_GONE;
	struct fake_guest *g;

	(void)hv;
	if (world.hv_hangs)
		return GUEST_LIFE_UNKNOWN;
	pthread_mutex_lock(&world.lock);
	g = fake_hv_find(uuid);
	if (g)
		l = g->life;
	pthread_mutex_unlock(&world.lock);
	return l;
}

static int list_all(struct hv *hv, char (**ret)[HV_UUID_SIZE],
		    struct error *err)
{
	size_t n;

	(void)hv;
	(void)err;
	pthread_mutex_lock(&world.lock);
	n = world.n_guests;
	*ret = xcalloc(n + 1, HV_UUID_SIZE);
	for (size_t i = 0; i < n; i++)
		memcpy((*ret)[i], world.guests[i].uuid, HV_UUID_SIZE);
	pthread_mutex_unlock(&world.lock);
	return (int)n;
}

static int verify(struct hv *hv, const char *snapshot_dir, struct error *err)
{
	(void)hv;
	if (access(snapshot_dir, F_OK) < 0)
		return err_set(err, ERR_NOT_FOUND, "no snapshot");
	return 0;
}

static int stats(struct hv *hv, const char *uuid, uint64_t *ret_cpu_ms,
		 uint64_t *ret_memory, struct error *err)
{
	(void)hv;
	(void)uuid;
	(void)err;
	*ret_cpu_ms = world.cpu_busy ? loop_now_ms() : 5;
	if (ret_memory)
		*ret_memory = 6;
	return 0;
}

static int merge(struct hv *hv, const struct guest_spec *spec,
		 const char *template_dir, const char *snapshot_dir,
		 const char *out_dir, uint64_t *ret_bytes,
		 struct hv_progress *progress, struct error *err)
{
	(void)hv;
	(void)template_dir;
	*ret_bytes = 0;
	if (access(spec->dir, F_OK) < 0 || access(snapshot_dir, F_OK) < 0)
		return err_set(err, ERR_INTERNAL, "no directory");
	if (!world.long_chains)
		return 0;
	while (world.merge_hangs && !progress->cancel)
		usleep(1000);
	if (progress->cancel)
		return err_set(err, ERR_CANCELLED, "stopped");
	if (mkdir(out_dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", out_dir);
	pthread_mutex_lock(&world.lock);
	world.merges++;
	pthread_mutex_unlock(&world.lock);
	*ret_bytes = 77;
	return 0;
}

static int selftest(struct hv *hv, const struct guest_spec *spec,
		    struct error *err)
{
	(void)hv;
	(void)spec;
	if (world.clones_fail)
		return err_set(err, ERR_CONFLICT, "the clone does not run");
	return 0;
}

static void fake_free(struct hv *hv)
{
	free(hv);
}

static const struct hv_ops ops = {
	.start = start,
	.release = release,
	.open_agent = open_agent,
	.save = save,
	.capture = capture,
	.wake = fake_wake,
	.destroy = destroy,
	.life = life,
	.list = list_all,
	.verify = verify,
	.merge = merge,
	.selftest = selftest,
	.stats = stats,
	.free = fake_free,
};

int fake_hv_new(struct hv **ret)
{
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->ops = &ops;
	(*ret)->info = (struct hv_info){ .accelerator = HV_ACCEL_KVM,
					 .cgroups = true,
					 .clones_work = true,
					 .clones_tested = !world.clones_fail,
					 .qemu_version = "7",
					 .kernel_version = "6" };
	if (world.cpu_model)
		snprintf((*ret)->info.cpu_model, sizeof((*ret)->info.cpu_model),
			 "%s", world.cpu_model);
	return 0;
}

size_t fake_hv_count(void)
{
	size_t n;

	pthread_mutex_lock(&world.lock);
	n = world.n_guests;
	pthread_mutex_unlock(&world.lock);
	return n;
}
