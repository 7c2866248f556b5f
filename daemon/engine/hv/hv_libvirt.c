/* SPDX-License-Identifier: Apache-2.0 */
/* hv_libvirt.c - guests as libvirt domains
 *
 * Theory of operation
 * ===================
 *
 * libvirt starts, lists and ends guests and keeps their monitor; what it has no
 * call for goes through that monitor (hv_monitor.c) or straight to the QEMU
 * process (qemu_proc.c, mem_pages.c).
 *
 * A guest is known by its uuid everywhere; nothing is remembered here between
 * operations, so a restarted daemon works on guests it has not started.
 *
 * "Gone" needs two witnesses. libvirt just restarted may not know a guest that
 * runs, and a process may be gone before libvirt has noticed: a guest is gone
 * when libvirt says so and there is no process of its name.
 */
#include "engine/hv/hv_libvirt.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/hv/hv_guest.h"
#include "engine/hv/hv_limits.h"
#include "engine/hv/hv_merge.h"
#include "engine/hv/hv_monitor.h"
#include "engine/hv/hv_save.h"
#include "engine/hv/hv_selftest.h"
#include "engine/hv/hv_start.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define AGENT_PORT	 1024
#define CONNECT_WAIT_MS	 5000
#define CONNECT_PAUSE_MS 20
#define WORKERS_MAX	 8
#define NAME_PREFIX	 "sbx-"

static struct hv_libvirt *of(struct hv *hv)
{
	return (struct hv_libvirt *)hv;
}

/* The serial channel. The directory is the guest's QEMU's to write: what we
 * connect to is looked at first, and is what was looked at.
 */
static int connect_serial(const struct guest_spec *spec, struct error *err)
{
	_cleanup_close_ int dir = hv_guest_open_dir(spec, err);
	_cleanup_close_ int path_fd = -EBADF;
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;

	if (dir < 0)
		return -1;
	path_fd =
		openat(dir, GUEST_AGENT_SOCK, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (path_fd < 0)
		return err_set(err, ERR_UNAVAILABLE,
			       "guest '%s' has no agent socket", spec->uuid);
	if (fstat(path_fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return err_set(err, ERR_INTERNAL,
			       "agent socket of '%s' is not one", spec->uuid);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d", path_fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		err_sys(err, errno, "connect to the agent of '%s'", spec->uuid);
		if (err)
			err->code = ERR_UNAVAILABLE;
		return -1;
	}
	return TAKE_FD(fd);
}

/* One try; 0, or -1 with errno. */
static int dial_vsock(uint32_t cid, int *ret)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK,
				  .svm_cid = cid,
				  .svm_port = AGENT_PORT };
	struct timeval limit = { .tv_sec = 2 };
	_cleanup_close_ int fd =
		socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit,
		   sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	if (fd_set_nonblock(fd) < 0)
		return -1;
	*ret = TAKE_FD(fd);
	return 0;
}

/* After a restore the guest resets its connections some moments later and
 * refuses new ones until it has: try until it takes one.
 */
static int connect_vsock(const struct guest_spec *spec, struct error *err)
{
	uint64_t deadline = loop_now_ms() + CONNECT_WAIT_MS;
	int fd;

	while (dial_vsock(spec->slot.cid, &fd) < 0) {
		if (loop_now_ms() > deadline || errno == EAFNOSUPPORT ||
		    errno == EACCES) {
			err_sys(err, errno, "connect to the agent of '%s'",
				spec->uuid);
			if (err)
				err->code = ERR_UNAVAILABLE;
			return -1;
		}
		hv_sleep_ms(CONNECT_PAUSE_MS);
	}
	return fd;
}

static int guest_open_agent(struct hv *hv, const struct guest_spec *spec,
			    int *ret_fd, struct error *err)
{
	int fd = hv->info.vsock ? connect_vsock(spec, err) :
				  connect_serial(spec, err);

	if (fd < 0)
		return -1;
	*ret_fd = fd;
	return 0;
}

static bool has_process(const char *uuid)
{
	struct qemu_proc proc = QEMU_PROC_NONE;
	int r = qemu_proc_open(uuid, (uid_t)-1, &proc);

	qemu_proc_close(&proc);
	return r != 0;
}

static enum guest_life guest_life(struct hv *hv, const char *uuid)
{
	_cleanup_domain_ virDomainPtr dom = NULL;
	int r = hv_conn_find(of(hv)->conn, uuid, &dom, NULL);
	int state, reason;

	if (r < 0)
		return GUEST_LIFE_UNKNOWN;
	if (r == 0)
		return has_process(uuid) ? GUEST_LIFE_UNKNOWN : GUEST_LIFE_GONE;
	if (virDomainGetState(dom, &state, &reason, 0) < 0)
		return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN &&
				       !has_process(uuid) ?
			       GUEST_LIFE_GONE :
			       GUEST_LIFE_UNKNOWN;
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		return GUEST_LIFE_RUNNING;
	case VIR_DOMAIN_PAUSED:
	case VIR_DOMAIN_PMSUSPENDED:
		/* One that was just saved: libvirt has not noticed yet. */
		return has_process(uuid) ? GUEST_LIFE_STOPPED : GUEST_LIFE_GONE;
	case VIR_DOMAIN_SHUTOFF:
	case VIR_DOMAIN_CRASHED:
		return has_process(uuid) ? GUEST_LIFE_UNKNOWN : GUEST_LIFE_GONE;
	default:
		return GUEST_LIFE_UNKNOWN;
	}
}

static int guest_list(struct hv *hv, char (**ret)[HV_UUID_SIZE],
		      struct error *err)
{
	_cleanup_connect_ virConnectPtr c = NULL;
	virDomainPtr *doms = NULL;
	char(*uuids)[HV_UUID_SIZE];
	int n, count = 0;

	if (hv_conn_get(of(hv)->conn, &c, err) < 0)
		return -1;
	n = virConnectListAllDomains(c, &doms, 0);
	if (n < 0)
		return hv_conn_error(err, "list guests");
	uuids = xcalloc((size_t)n + 1, sizeof(*uuids));
	for (int i = 0; i < n; i++) {
		const char *name = virDomainGetName(doms[i]);

		if (name && strncmp(name, NAME_PREFIX, 4) == 0 &&
		    virDomainGetUUIDString(doms[i], uuids[count]) == 0 &&
		    strcmp(name + 4, uuids[count]) == 0)
			count++;
		virDomainFree(doms[i]);
	}
	free(doms);
	*ret = uuids;
	return count;
}

static int guest_stats(struct hv *hv, const char *uuid, uint64_t *ret_cpu_ms,
		       uint64_t *ret_memory, struct error *err)
{
	struct qemu_proc proc = QEMU_PROC_NONE;
	int r = qemu_proc_open(uuid, (uid_t)-1, &proc);

	(void)hv;
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "no guest '%s'", uuid);
	if (r > 0)
		r = qemu_proc_stats(&proc, ret_cpu_ms, ret_memory);
	qemu_proc_close(&proc);
	if (r < 0)
		return err_sys(err, -r, "measure guest '%s'", uuid);
	return 0;
}

static void guest_free(struct hv *hv)
{
	struct hv_libvirt *lv = of(hv);

	if (!hv)
		return;
	hv_conn_free(lv->conn);
	sem_destroy(&lv->starts);
	free(lv->qemu);
	free(lv->qemu_img);
	free(lv->kernel);
	free(lv->initrd);
	free(lv->cmdline);
	free(lv->kernel_version);
	free(lv->state_dir);
	free(lv);
}

static const struct hv_ops ops = {
	.start = hv_guest_start,
	.release = hv_guest_release,
	.open_agent = guest_open_agent,
	.save = hv_guest_save,
	.capture = hv_guest_capture,
	.wake = hv_guest_wake,
	.destroy = hv_guest_destroy,
	.life = guest_life,
	.list = guest_list,
	.verify = hv_guest_verify,
	.merge = hv_guest_merge,
	.selftest = hv_guest_selftest,
	.stats = guest_stats,
	.free = guest_free,
};

static void on_link(bool up, void *arg)
{
	struct hv_libvirt *lv = arg;

	if (up)
		hv_conn_version(lv->conn, lv->base.info.libvirt_version,
				sizeof(lv->base.info.libvirt_version));
	if (lv->link)
		lv->link(up, lv->arg);
}

static void on_gone(const char *uuid, void *arg)
{
	struct hv_libvirt *lv = arg;

	if (lv->gone)
		lv->gone(uuid, lv->arg);
}

static bool wants_vsock(enum hv_vsock_wish wish)
{
	if (wish == HV_VSOCK_AUTO)
		return access("/dev/vhost-vsock", R_OK | W_OK) == 0;
	return wish == HV_VSOCK_YES;
}

/* QEMU runs under a uid that is in no group but one. Where only a group may
 * open /dev/kvm it has to be that one.
 */
static uint32_t pick_gid(const struct hv_libvirt_config *config,
			 enum hv_accelerator accelerator)
{
	struct stat st;

	if (accelerator == HV_ACCEL_KVM && stat("/dev/kvm", &st) == 0 &&
	    (st.st_mode & 0006) != 0006 && (st.st_mode & 0060) == 0060)
		return st.st_gid;
	return config->gid;
}

/* QEMU's translator keys what it has translated by the address that code runs
 * at, and has nothing for a program that lies elsewhere each time: starting one
 * takes four times as long.
 */
static char *guest_cmdline(const char *cmdline, enum hv_accelerator accelerator)
{
	return xasprintf("%s%s", cmdline,
			 accelerator == HV_ACCEL_TCG ? " norandmaps" : "");
}

static unsigned int pick_workers(unsigned int wish)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (wish == 0)
		wish = cpus > 0 ? (unsigned int)cpus : 1;
	return wish < WORKERS_MAX ? wish : WORKERS_MAX;
}

static void pick_mechanism(struct hv_libvirt *lv, enum hv_mechanism_wish wish)
{
	struct hv_info *info = &lv->base.info;
	int known =
		wish == HV_MECHANISM_AUTO ? hv_guest_selftest_known(lv) : -1;

	info->clones_work = wish != HV_MECHANISM_LIBVIRT && known != 0;
	info->clones_tested = wish != HV_MECHANISM_AUTO || known >= 0;
	if (!info->clones_work)
		log_warn("guests are saved whole, by libvirt: %s",
			 known == 0 ? "QEMU failed the clone self-test" :
				      "the configuration asks for it");
}

int hv_libvirt_new(const struct hv_libvirt_config *config, struct loop *loop,
		   hv_gone_fn gone, hv_link_fn link, void *arg, struct hv **ret,
		   struct error *err)
{
	const char *qemu =
		config->qemu ? config->qemu : "/usr/bin/qemu-system-x86_64";
	struct hv_libvirt *lv;
	struct probe_result probe;

	if (probe_run(config->accelerator, config->probe_ms, qemu,
		      config->kernel, config->state_dir, &probe, err) < 0)
		return -1;
	lv = xcalloc(1, sizeof(*lv));
	*lv = (struct hv_libvirt){
		.base.ops = &ops,
		.loop = loop,
		.gone = gone,
		.link = link,
		.arg = arg,
		.probe = probe,
		.qemu = xstrdup(qemu),
		.qemu_img = xstrdup(config->qemu_img ? config->qemu_img :
						       "/usr/bin/qemu-img"),
		.kernel = xstrdup(config->kernel),
		.initrd = xstrdup(config->initrd),
		.cmdline = guest_cmdline(config->cmdline, probe.accelerator),
		.kernel_version = xstrdup(
			config->kernel_version ? config->kernel_version : ""),
		.state_dir = xstrdup(config->state_dir),
		.gid = pick_gid(config, probe.accelerator),
		.workers = pick_workers(config->workers),
		.disk_mbps = config->disk_mbps,
		.disk_iops = config->disk_iops,
	};
	sem_init(&lv->starts, 0, HV_STARTS_MAX);
	lv->base.info = (struct hv_info){
		.accelerator = probe.accelerator,
		.vsock = wants_vsock(config->vsock),
		.cgroups = hv_limits_work(),
		.gid = lv->gid,
		.ram_readonly = probe.ram_readonly,
	};
	snprintf(lv->base.info.qemu_version, sizeof(lv->base.info.qemu_version),
		 "%s", probe.qemu_version);
	snprintf(lv->base.info.kernel_version,
		 sizeof(lv->base.info.kernel_version), "%s",
		 lv->kernel_version);
	snprintf(lv->base.info.cmdline, sizeof(lv->base.info.cmdline), "%s",
		 lv->cmdline);
	snprintf(lv->base.info.cpu_model, sizeof(lv->base.info.cpu_model), "%s",
		 probe.cpu_model);
	pick_mechanism(lv, config->mechanism);
	if (hv_conn_new(config->uri, loop, on_gone, on_link, lv, &lv->conn,
			err) < 0) {
		guest_free(&lv->base);
		return -1;
	}
	*ret = &lv->base;
	return 0;
}

int hv_libvirt_console(struct hv *hv, const char *uuid, char *buf, size_t size,
		       struct error *err)
{
	_cleanup_domain_ virDomainPtr dom = NULL;
	int r = hv_conn_find(of(hv)->conn, uuid, &dom, err);

	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "no guest '%s'", uuid);
	return r < 0 ? -1 : hv_monitor_console(dom, buf, size, err);
}
