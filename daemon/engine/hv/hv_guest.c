/* SPDX-License-Identifier: Apache-2.0 */
/* hv_guest.c - what every operation on a guest needs: where it is, and its end
 */
#include "engine/hv/hv_guest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "engine/hv/hv_monitor.h"
#include "engine/hv/qemu_proc.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/snapshot.h"
#include "engine/snapshot/template.h"

#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <time.h>

#define GONE_WAIT_MS 5000
/* Whoever terminates is told what holds it when this has passed; then it is tried
 * again.
 */
#define KILL_WAIT_MS   3000
#define NOTICE_WAIT_MS 500

int hv_guest_open_dir(const struct guest_spec *spec, struct error *err)
{
	int fd = open(spec->dir,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? err_sys(err, errno, "open guest directory '%s'",
				spec->dir) :
			fd;
}

int hv_guest_open_proc(const struct guest_spec *spec, struct qemu_proc *ret,
		       struct error *err)
{
	int r = qemu_proc_open(spec->uuid, spec->slot.uid, ret);

	if (r < 0)
		return err_sys(err, -r, "look for the process of '%s'",
			       spec->uuid);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "guest '%s' has no process",
			       spec->uuid);
	return 0;
}

int hv_guest_layers(virDomainPtr dom, const struct guest_spec *spec, int dir_fd,
		    char *active, size_t size, unsigned int *ret,
		    struct error *err)
{
	int number;

	if (hv_monitor_disk_number(dom, &number, err) < 0)
		return -1;
	if (number < 0)
		snprintf(active, size, "%s", DISK_ACTIVE);
	else
		disk_layer_name((unsigned int)number, active, size);
	return disk_settle(dir_fd, active, spec->slot.uid, ret, err);
}

void hv_guest_platform(const struct hv_libvirt *lv,
		       const struct guest_spec *spec,
		       struct snapshot_platform *ret)
{
	const struct probe_result *probe = &lv->probe;

	*ret = (struct snapshot_platform){ .vsock = lv->base.info.vsock,
					   .network = spec->slot.tap[0] };
	snprintf(ret->accelerator, sizeof(ret->accelerator), "%s",
		 probe->accelerator == HV_ACCEL_KVM ? "kvm" : "tcg");
	snprintf(ret->machine, sizeof(ret->machine), "%s", probe->machine);
	snprintf(ret->qemu_version, sizeof(ret->qemu_version), "%s",
		 probe->qemu_version);
	snprintf(ret->cpu_model, sizeof(ret->cpu_model), "%s",
		 probe->cpu_model);
	snprintf(ret->kernel_version, sizeof(ret->kernel_version), "%s",
		 lv->kernel_version);
}

void hv_guest_ram_path(const struct guest_spec *spec, const char *template_dir,
		       char ret[PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s/%s",
			 template_dir ? template_dir : spec->dir,
			 template_dir ? TEMPLATE_RAM : GUEST_EMPTY_RAM);

	if (n >= PATH_MAX)
		ret[0] = '\0'; /* no mapping has that name */
}

void hv_sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_sec = ms / 1000,
			      .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* End the process, with or without libvirt. 1: there was one; 0; -1: it did not
 * end within @wait_ms, and why.
 */
static int kill_process(const char *uuid, unsigned int wait_ms,
			struct error *err)
{
	struct qemu_proc proc = QEMU_PROC_NONE;
	int r = qemu_proc_open(uuid, (uid_t)-1, &proc);
	char how[160];

	if (r < 0)
		return err_sys(err, -r, "look for the process of '%s'", uuid);
	if (r == 0)
		return 0;
	r = qemu_proc_kill(&proc);
	if (r == 0)
		r = qemu_proc_wait(&proc, wait_ms);
	qemu_proc_describe(&proc, how, sizeof(how));
	qemu_proc_close(&proc);
	if (r < 0)
		return err_set(err, ERR_UNAVAILABLE,
			       "its QEMU does not end: %s", how);
	return 1;
}

int hv_guest_end(const char *uuid, struct error *err)
{
	return kill_process(uuid, GONE_WAIT_MS, err) < 0 ? -1 : 0;
}

/* Until libvirt has cleaned up after a guest that has no process any more. It
 * sees the monitor close and does so by itself, sooner than when it is told to
 * end what is ended: that is for when it does not.
 */
static int forget_domain(struct hv_libvirt *lv, const char *uuid,
			 struct error *err)
{
	uint64_t began = loop_now_ms();
	uint64_t deadline = began + GONE_WAIT_MS;

	for (;;) {
		_cleanup_domain_ virDomainPtr dom = NULL;
		int r = hv_conn_find(lv->conn, uuid, &dom, err);

		if (r <= 0)
			return r;
		if (loop_now_ms() < began + NOTICE_WAIT_MS) {
			hv_sleep_ms(5);
			continue;
		}
		if (virDomainDestroyFlags(dom, 0) == 0)
			continue;
		if (virGetLastErrorCode() == VIR_ERR_NO_DOMAIN)
			return 0;
		if (loop_now_ms() > deadline)
			return hv_conn_error(err, "end guest '%s'", uuid);
		hv_sleep_ms(10);
	}
}

/* The process first: libvirt would ask it politely and look five times a
 * second. When libvirt is lost the process is ended all the same, and libvirt
 * cleans up when it is back.
 */
int hv_guest_destroy(struct hv *hv, const char *uuid, struct error *err)
{
	struct error lost = { 0 };

	if (kill_process(uuid, KILL_WAIT_MS, err) < 0)
		return -1;
	if (forget_domain((struct hv_libvirt *)hv, uuid, &lost) == 0)
		return 0;
	if (lost.code == ERR_UNAVAILABLE) {
		/* It may have been starting just now: look once more. */
		return kill_process(uuid, KILL_WAIT_MS, err) < 0 ? -1 : 0;
	}
	if (err)
		*err = lost;
	return -1;
}
