/* SPDX-License-Identifier: Apache-2.0 */
/* file_hv.c - see file_hv.h
 *
 * A held clone is a file "held" in the guest's directory. A snapshot is a copy
 * of the guest's root and, written last, a file "whole".
 */
#include "file_hv.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_hv {
	struct hv base;
	const struct file_guest_ops *guests;
	void *arg;
	char state_dir[PATH_MAX / 2];
	char faults[PATH_MAX / 2]; /* "": none */
};

static struct file_hv *of(struct hv *hv)
{
	return (struct file_hv *)hv;
}

static bool has(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

static int mark(const char *dir, const char *name, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, errno, "make '%s'", path);
	close(fd);
	return 0;
}

static void unmark(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	unlink(path);
}

/* What is to go wrong with @op goes wrong here. */
static int fault(struct hv *hv, const char *op, struct error *err)
{
	struct file_hv *m = of(hv);
	_cleanup_free_ char *fail = NULL, *slow = NULL, *text = NULL;
	size_t len;

	if (!m->faults[0])
		return 0;
	fail = xasprintf("%s/fail-%s", m->faults, op);
	slow = xasprintf("%s/slow-%s", m->faults, op);
	if (fd_read_file(AT_FDCWD, slow, 16, &text, &len) == 0)
		poll(NULL, 0, atoi(text));
	if (has(m->faults, "down"))
		return err_set(err, ERR_UNAVAILABLE,
			       "the hypervisor does not answer");
	if (unlink(fail) == 0)
		return err_set(err, ERR_INTERNAL, "%s fails as told", op);
	return 0;
}

bool file_hv_is_up(struct hv *hv)
{
	return !of(hv)->faults[0] || !has(of(hv)->faults, "down");
}

static int copy_root(struct hv *hv, const char *from, const char *to,
		     struct error *err)
{
	_cleanup_free_ char *from_root = xasprintf("%s/root", from);
	_cleanup_free_ char *to_root = xasprintf("%s/root", to);

	return of(hv)->guests->copy ?
		       of(hv)->guests->copy(from_root, to_root, err) :
		       0;
}

static int run(struct hv *hv, const struct guest_spec *spec,
	       const char *snapshot_dir, struct error *err)
{
	if (snapshot_dir && copy_root(hv, snapshot_dir, spec->dir, err) < 0)
		return -1;
	return of(hv)->guests->start(spec->dir, of(hv)->arg, err);
}

static bool is_alive(struct hv *hv, const char *dir)
{
	return of(hv)->guests->is_alive(dir, of(hv)->arg);
}

static int kill_guest(struct hv *hv, const char *dir, struct error *err)
{
	return of(hv)->guests->kill(dir, of(hv)->arg, err);
}

static int start(struct hv *hv, const struct guest_spec *spec,
		 const char *template_dir, const char *snapshot_dir, bool hold,
		 struct error *err)
{
	if (fault(hv, hold ? "hold" : "start", err) < 0)
		return -1;
	if (template_dir && !has(template_dir, FILE_HV_WHOLE))
		return err_set(err, ERR_DATA_LOSS, "no template '%s'",
			       template_dir);
	if (snapshot_dir && !has(snapshot_dir, FILE_HV_WHOLE))
		return err_set(err, ERR_DATA_LOSS, "no snapshot '%s'",
			       snapshot_dir);
	return hold ? mark(spec->dir, "held", err) :
		      run(hv, spec, snapshot_dir, err);
}

static int release(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   struct error *err)
{
	(void)template_dir;
	if (fault(hv, "release", err) < 0)
		return -1;
	if (!has(spec->dir, "held"))
		return err_set(err, ERR_INTERNAL, "no held guest");
	if (run(hv, spec, snapshot_dir, err) < 0)
		return -1;
	unmark(spec->dir, "held");
	return 0;
}

static int open_agent(struct hv *hv, const struct guest_spec *spec, int *ret_fd,
		      struct error *err)
{
	/* The way to an agent is no business of libvirt's. */
	if (file_hv_is_up(hv) && fault(hv, "open_agent", err) < 0)
		return -1;
	*ret_fd = of(hv)->guests->connect(spec->dir, of(hv)->arg);
	if (*ret_fd < 0)
		return err_set(err, ERR_UNAVAILABLE, "no running guest");
	return 0;
}

static int save(struct hv *hv, const struct guest_spec *spec,
		const char *template_dir, const char *snapshot_dir,
		bool keep_running, uint64_t *ret_bytes,
		struct hv_progress *progress, struct error *err)
{
	(void)template_dir;
	(void)progress;
	if (fault(hv, "save", err) < 0)
		return -1;
	if (!is_alive(hv, spec->dir))
		return err_set(err, ERR_UNAVAILABLE, "the guest is gone");
	if (mkdir(snapshot_dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", snapshot_dir);
	if (copy_root(hv, spec->dir, snapshot_dir, err) < 0 ||
	    mark(snapshot_dir, FILE_HV_WHOLE, err) < 0) {
		fd_remove_tree(AT_FDCWD, snapshot_dir, NULL);
		return -1;
	}
	*ret_bytes = 1000;
	if (!keep_running)
		kill_guest(hv, spec->dir, NULL);
	return 0;
}

static int capture(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, struct hv_progress *progress,
		   struct error *err)
{
	(void)progress;
	kill_guest(hv, spec->dir, NULL);
	if (fault(hv, "capture", err) < 0)
		return -1;
	if (mkdir(template_dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", template_dir);
	return mark(template_dir, FILE_HV_WHOLE, err);
}

static int wake(struct hv *hv, const struct guest_spec *spec,
		const char *snapshot_dir, struct error *err)
{
	(void)snapshot_dir;
	(void)hv;
	(void)spec;
	(void)err;
	return 0;
}

static char *guest_dir(struct hv *hv, const char *uuid)
{
	return xasprintf("%s/guests/%s", of(hv)->state_dir, uuid);
}

static int destroy(struct hv *hv, const char *uuid, struct error *err)
{
	_cleanup_free_ char *dir = guest_dir(hv, uuid);

	if (fault(hv, "destroy", err) < 0)
		return -1;
	unmark(dir, "held");
	return kill_guest(hv, dir, err);
}

static enum guest_life life(struct hv *hv, const char *uuid)
{
	_cleanup_free_ char *dir = guest_dir(hv, uuid);

	if (!file_hv_is_up(hv))
		return GUEST_LIFE_UNKNOWN;
	if (is_alive(hv, dir))
		return GUEST_LIFE_RUNNING;
	return has(dir, "held") ? GUEST_LIFE_STOPPED : GUEST_LIFE_GONE;
}

static int list_all(struct hv *hv, char (**ret)[HV_UUID_SIZE],
		    struct error *err)
{
	_cleanup_free_ char *path = guest_dir(hv, "");
	DIR *dir = opendir(path);
	struct dirent *de;
	int n = 0;

	*ret = NULL;
	if (!file_hv_is_up(hv)) {
		if (dir)
			closedir(dir);
		return err_set(err, ERR_UNAVAILABLE,
			       "the hypervisor does not answer");
	}
	while (dir && (de = readdir(dir))) {
		if (strlen(de->d_name) != HV_UUID_SIZE - 1 ||
		    life(hv, de->d_name) == GUEST_LIFE_GONE)
			continue;
		*ret = xrealloc(*ret, (size_t)n + 1, HV_UUID_SIZE);
		strcpy((*ret)[n++], de->d_name);
	}
	if (dir)
		closedir(dir);
	return n;
}

static int verify(struct hv *hv, const char *snapshot_dir, struct error *err)
{
	if (fault(hv, "verify", err) < 0)
		return -1;
	if (!has(snapshot_dir, FILE_HV_WHOLE))
		return err_set(err, ERR_NOT_FOUND, "no snapshot");
	return 0;
}

/* No chain is long. */
static int merge(struct hv *hv, const struct guest_spec *spec,
		 const char *template_dir, const char *snapshot_dir,
		 const char *out_dir, uint64_t *ret_bytes,
		 struct hv_progress *progress, struct error *err)
{
	(void)hv;
	(void)spec;
	(void)template_dir;
	(void)snapshot_dir;
	(void)out_dir;
	(void)progress;
	(void)err;
	*ret_bytes = 0;
	return 0;
}

static int selftest(struct hv *hv, const struct guest_spec *spec,
		    struct error *err)
{
	(void)hv;
	(void)spec;
	(void)err;
	return 0;
}

static int stats(struct hv *hv, const char *uuid, uint64_t *ret_cpu_ms,
		 uint64_t *ret_memory, struct error *err)
{
	(void)uuid;
	*ret_cpu_ms = 5;
	if (ret_memory)
		*ret_memory = 6;
	return file_hv_is_up(hv) ? 0 :
				   err_set(err, ERR_UNAVAILABLE,
					   "the hypervisor does not answer");
}

static void hv_free(struct hv *hv)
{
	free(hv);
}

static const struct hv_ops ops = {
	.start = start,
	.release = release,
	.open_agent = open_agent,
	.save = save,
	.capture = capture,
	.wake = wake,
	.destroy = destroy,
	.life = life,
	.list = list_all,
	.verify = verify,
	.merge = merge,
	.selftest = selftest,
	.stats = stats,
	.free = hv_free,
};

struct hv *file_hv_new(const char *state_dir, const char *faults,
		       const struct file_guest_ops *guests, void *arg)
{
	struct file_hv *m = xcalloc(1, sizeof(*m));

	m->base.ops = &ops;
	m->base.info = (struct hv_info){
		.accelerator = HV_ACCEL_KVM,
		.vsock = true,
		.clones_work = true,
		.libvirt_version = "none",
		.qemu_version = "none",
		.kernel_version = "none",
		.cpu_model = "none",
	};
	m->guests = guests;
	m->arg = arg;
	snprintf(m->state_dir, sizeof(m->state_dir), "%s", state_dir);
	snprintf(m->faults, sizeof(m->faults), "%s", faults ? faults : "");
	return &m->base;
}
