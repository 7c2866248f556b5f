/* SPDX-License-Identifier: Apache-2.0 */
/* hv_start.c - bring guests up: cold, as clones, from snapshots
 *
 * Theory of operation
 * ===================
 *
 * One path for all. Guest memory is a private mapping of a file: the template's
 * or, without one, an empty file of the guest's own ("the empty template"). A
 * cold boot runs from there; everything else starts a QEMU that waits, puts the
 * snapshot's pages, if any, into it, and only then hands it the device state:
 * loading looks at rings that are in those pages.
 *
 * A held guest is one stopped before those steps; release does them.
 *
 * What a guest is made from is checked before anything is made, and a failure
 * later takes the guest and every file made here away again.
 */
#include "engine/hv/hv_start.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/laps.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/hv/hv_limits.h"
#include "engine/hv/hv_monitor.h"
#include "engine/hv/hv_whole.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/mem_file.h"
#include "engine/snapshot/template.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <string.h>
#include <sys/stat.h>

#define MIB (1ull << 20)

/**
 * struct plan - What one guest is made from
 * @template, @snapshot: Manifests; NULL where there is none
 * @own_layers:	Sealed layers of the snapshot
 * @whole:	The snapshot is libvirt's, complete (hv_whole.h)
 * @ram_path:	What memory maps
 * @layers:	The disk's chain, top first
 */
struct plan {
	struct hv_libvirt *lv;
	const struct guest_spec *spec;
	const char *template_dir, *snapshot_dir;
	struct snapshot_manifest *template, *snapshot;
	int dir_fd, template_fd, snapshot_fd;
	unsigned int own_layers;
	bool whole;
	struct laps laps;
	char ram_path[PATH_MAX];
	char *layers[HV_XML_LAYERS_MAX];
	size_t n_layers;
};

static void plan_fini(struct plan *p)
{
	free(p->template);
	free(p->snapshot);
	fd_close(&p->dir_fd);
	fd_close(&p->template_fd);
	fd_close(&p->snapshot_fd);
	for (size_t i = 0; i < p->n_layers; i++)
		free(p->layers[i]);
}

static int plan_template(struct plan *p, struct error *err)
{
	const struct guest_spec *spec = p->spec;

	p->template = xcalloc(1, sizeof(*p->template));
	if (template_open(p->template_dir, p->template, err) < 0)
		return -1;
	p->template_fd =
		open(p->template_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->template_fd < 0)
		return err_sys(err, errno, "open template '%s'",
			       p->template_dir);
	if (p->template->cpu != spec->cpu ||
	    p->template->memory_mib != spec->memory_mib ||
	    strcmp(p->template->image_digest, spec->image_digest) != 0)
		return err_set(err, ERR_CONFLICT,
			       "template '%s' is of another image or size",
			       p->template_dir);
	return 0;
}

/* The snapshot's memory is a difference from exactly one template's. */
static int match_template(const struct plan *p, struct error *err)
{
	const struct snapshot_part *ram;

	if (!p->snapshot->template_ram[0]) {
		if (p->template)
			return err_set(err, ERR_CONFLICT,
				       "snapshot '%s' has no template, one was "
				       "given",
				       p->snapshot_dir);
		return 0;
	}
	if (!p->template)
		return err_set(err, ERR_CONFLICT,
			       "snapshot '%s' needs its template",
			       p->snapshot_dir);
	ram = snapshot_manifest_part(p->template, TEMPLATE_RAM);
	if (strcmp(ram->sha256, p->snapshot->template_ram) != 0)
		return err_set(err, ERR_CONFLICT,
			       "snapshot '%s' is of another template than '%s'",
			       p->snapshot_dir, p->template_dir);
	return 0;
}

static int check_snapshot(struct plan *p, struct error *err)
{
	const struct snapshot_manifest *m = p->snapshot;

	if (snapshot_read(p->snapshot_fd, SNAPSHOT_GUEST, p->snapshot, err) < 0)
		return -1;
	for (size_t i = 0; i < m->n_parts; i++) {
		bool mem = !strcmp(m->parts[i].name, SNAPSHOT_MEM) ||
			   !strcmp(m->parts[i].name, SNAPSHOT_SAVE);
		char name[32];

		/* Its frames are checked as they are loaded. */
		if (snapshot_check_part(p->snapshot_fd, &m->parts[i],
					mem ? SNAPSHOT_SIZES : SNAPSHOT_SMALL,
					err) < 0)
			return -1;
		disk_layer_name(p->own_layers, name, sizeof(name));
		if (strcmp(m->parts[i].name, name) == 0)
			p->own_layers++;
	}
	p->whole = snapshot_manifest_part(m, SNAPSHOT_SAVE);
	if ((!p->whole && (!snapshot_manifest_part(m, SNAPSHOT_MEM) ||
			   !snapshot_manifest_part(m, SNAPSHOT_STATE))) ||
	    p->own_layers == 0 ||
	    m->n_parts != p->own_layers + (p->whole ? 1u : 2u))
		return err_set(err, ERR_DATA_LOSS,
			       "parts are missing from the manifest");
	if (m->cpu != p->spec->cpu || m->memory_mib != p->spec->memory_mib)
		return err_set(err, ERR_CONFLICT,
			       "it is of %u vCPUs and %u MiB, not %u and %u",
			       m->cpu, m->memory_mib, p->spec->cpu,
			       p->spec->memory_mib);
	if (strcmp(m->image_digest, p->spec->image_digest) != 0)
		return err_set(err, ERR_CONFLICT, "it is of another image");
	return 0;
}

static int plan_snapshot(struct plan *p, struct error *err)
{
	p->snapshot = xcalloc(1, sizeof(*p->snapshot));
	p->snapshot_fd =
		open(p->snapshot_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->snapshot_fd < 0) {
		err_sys(err, errno, "open snapshot '%s'", p->snapshot_dir);
		return err_reason(err, "SNAPSHOT_NOT_FOUND", NULL);
	}
	if (check_snapshot(p, err) < 0)
		return err_wrap(err, "snapshot '%s'", p->snapshot_dir);
	return match_template(p, err);
}

static int plan_platform(const struct plan *p, struct error *err)
{
	const struct snapshot_manifest *m =
		p->snapshot ? p->snapshot : p->template;
	struct snapshot_platform host;

	if (!m)
		return 0;
	hv_guest_platform(p->lv, p->spec, &host);
	if (snapshot_platform_accepts(&host, &m->platform, err) < 0)
		return err_wrap(err, "'%s' does not fit this node",
				p->snapshot ? p->snapshot_dir
					    : p->template_dir);
	return 0;
}

static int plan_init(struct plan *p, struct hv *hv,
		     const struct guest_spec *spec, const char *template_dir,
		     const char *snapshot_dir, struct error *err)
{
	*p = (struct plan){ .lv = (struct hv_libvirt *)hv,
			    .spec = spec,
			    .template_dir = template_dir,
			    .snapshot_dir = snapshot_dir,
			    .dir_fd = -EBADF,
			    .template_fd = -EBADF,
			    .snapshot_fd = -EBADF };
	laps_begin(&p->laps);
	p->dir_fd = hv_guest_open_dir(spec, err);
	if (p->dir_fd < 0)
		return -1;
	hv_guest_ram_path(spec, template_dir, p->ram_path);
	if (template_dir && plan_template(p, err) < 0)
		return -1;
	if (snapshot_dir && plan_snapshot(p, err) < 0)
		return -1;
	laps_add(&p->laps, "check");
	return plan_platform(p, err);
}

/* Everything that a start or a guest made; the directory itself stays. */
static void remove_files(int dir_fd)
{
	char name[32];

	unlinkat(dir_fd, GUEST_EMPTY_RAM, 0);
	unlinkat(dir_fd, GUEST_AGENT_SOCK, 0);
	unlinkat(dir_fd, GUEST_RESTORE_FILE, 0);
	unlinkat(dir_fd, DISK_ACTIVE, 0);
	for (unsigned int n = 0; n <= DISK_LAYERS_MAX; n++) {
		disk_layer_name(n, name, sizeof(name));
		unlinkat(dir_fd, name, 0);
	}
}

static int make_empty_ram(const struct plan *p, struct error *err)
{
	_cleanup_close_ int fd = openat(
		p->dir_fd, GUEST_EMPTY_RAM,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)(p->spec->memory_mib * MIB)) < 0 ||
	    fchown(fd, p->spec->slot.uid, (gid_t)-1) < 0)
		return err_sys(err, errno, "make '%s/%s'", p->spec->dir,
			       GUEST_EMPTY_RAM);
	return 0;
}

static uint64_t disk_size(const struct plan *p)
{
	uint64_t size = p->spec->disk_mib * MIB;

	if (p->snapshot && p->snapshot->disk_size > size)
		size = p->snapshot->disk_size;
	if (!p->snapshot && p->template && p->template->disk_size > size)
		size = p->template->disk_size;
	return size;
}

/* The layer that the guest will write, on top of the snapshot's, linked here;
 * and the whole chain.
 */
static int make_disk(struct plan *p, const char *active, struct error *err)
{
	char name[32], below[PATH_MAX + 32];
	const char *format = "qcow2";

	if (p->own_layers >= DISK_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "disk of %u layers",
			       p->own_layers);
	if (p->own_layers > 0) {
		if (disk_link_layers(p->snapshot_fd, p->dir_fd, p->own_layers,
				     err) < 0)
			return -1;
		disk_layer_name(p->own_layers - 1, below, sizeof(below));
	} else if (p->template) {
		snprintf(below, sizeof(below), "%s/%s", p->template_dir,
			 TEMPLATE_DISK);
	} else {
		snprintf(below, sizeof(below), "%s", p->spec->image_disk);
		format = "raw";
	}
	if (disk_create(p->dir_fd, active, disk_size(p), below, format,
			p->spec->slot.uid, err) < 0)
		return -1;
	p->layers[p->n_layers++] = xasprintf("%s/%s", p->spec->dir, active);
	for (unsigned int n = p->own_layers; n > 0; n--) {
		disk_layer_name(n - 1, name, sizeof(name));
		p->layers[p->n_layers++] =
			xasprintf("%s/%s", p->spec->dir, name);
	}
	if (p->template)
		p->layers[p->n_layers++] =
			xasprintf("%s/%s", p->template_dir, TEMPLATE_DISK);
	p->layers[p->n_layers++] = xstrdup(p->spec->image_disk);
	return 0;
}

static int make_domain(const struct plan *p, virDomainPtr *ret,
		       struct error *err)
{
	struct hv_libvirt *lv = p->lv;
	const struct snapshot_manifest *from =
		p->snapshot ? p->snapshot : p->template;
	struct hv_xml_options opt = {
		.accelerator = lv->probe.accelerator,
		.emulator = lv->qemu,
		/* Saved state pins the machine, whatever is newest here. */
		.machine = from ? from->platform.machine : lv->probe.machine,
		.kernel = lv->kernel,
		.initrd = lv->initrd,
		.cmdline = lv->cmdline,
		.gid = lv->gid,
		.vsock = lv->base.info.vsock,
		.ram_path = p->ram_path,
		.ram_readonly = lv->probe.ram_readonly && p->template,
		.incoming = from && !p->whole,
		.layers = (const char *const *)p->layers,
		.n_layers = p->n_layers,
	};
	_cleanup_connect_ virConnectPtr c = NULL;
	_cleanup_free_ char *xml = NULL;
	virDomainPtr dom;

	if (hv_conn_get(lv->conn, &c, err) < 0 ||
	    hv_xml_build(p->spec, &opt, &xml, err) < 0)
		return -1;
	if (p->whole)
		return hv_whole_restore(c, p->spec, p->snapshot_fd, xml, ret,
					err);
	while (sem_wait(&lv->starts) < 0)
		; /* EINTR */
	dom = virDomainCreateXML(c, xml, from ? VIR_DOMAIN_START_PAUSED : 0);
	sem_post(&lv->starts);
	if (!dom)
		return hv_conn_error(err, "start guest '%s'", p->spec->uuid);
	*ret = dom;
	return 0;
}

static int limit_domain(const struct plan *p, struct error *err)
{
	struct hv_libvirt *lv = p->lv;
	bool kvm = lv->probe.accelerator == HV_ACCEL_KVM;
	struct hv_limits limits = {
		.cpu = p->spec->cpu,
		.memory_mib = p->spec->memory_mib +
			      (kvm ? HV_LIMITS_MEMORY_KVM_MIB :
				     HV_LIMITS_MEMORY_TCG_MIB),
		.tasks = HV_LIMITS_TASKS,
		.disk_mbps = lv->disk_mbps,
		.disk_iops = lv->disk_iops,
		.disk_path = p->spec->dir,
	};
	struct qemu_proc proc = QEMU_PROC_NONE;
	int rc;

	if (!lv->base.info.cgroups)
		return 0;
	if (hv_guest_open_proc(p->spec, &proc, err) < 0)
		return -1;
	rc = hv_limits_apply(proc.pid, &limits, err);
	qemu_proc_close(&proc);
	return rc;
}

/* A process whose memory pages go into. */
struct target {
	struct mem_map map;
	int template_fd; /* memory of the template; -EBADF: all zeros */
	const uint8_t *zeros;
};

/* Zero now, though written since the template: only where that is not. */
static int write_zeros(const struct target *t, struct page_run run)
{
	for (uint32_t i = 0; i < run.count && t->template_fd >= 0; i++) {
		uint8_t page[MEM_PAGE_SIZE];
		struct page_run one = { run.first + i, 1 };
		int r = fd_pread_full(t->template_fd, page, sizeof(page),
				      (off_t)one.first * MEM_PAGE_SIZE);

		if (r == 0 && !mem_is_zero(page, sizeof(page)))
			r = mem_pages_write(&t->map, &one, 1, t->zeros);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_target(void *arg, const struct page_run *runs, size_t n,
			const uint8_t *buf)
{
	const struct target *t = arg;

	if (buf)
		return mem_pages_write(&t->map, runs, n, buf);
	for (size_t i = 0; i < n; i++) {
		int r = write_zeros(t, runs[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int load_pages(const struct plan *p, struct error *err)
{
	static const uint8_t zeros[MEM_PAGE_SIZE];
	_cleanup_close_ int fd = openat(p->snapshot_fd, SNAPSHOT_MEM,
					O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int ram = -EBADF;
	struct target t = { .template_fd = -EBADF, .zeros = zeros };
	struct mem_source target = { .write = write_target, .arg = &t };
	uint64_t size = p->spec->memory_mib * MIB;
	struct qemu_proc proc = QEMU_PROC_NONE;
	struct mem_index index;
	int rc;

	if (fd < 0)
		return err_sys(err, errno, "open '%s'", SNAPSHOT_MEM);
	if (p->template) {
		ram = openat(p->template_fd, TEMPLATE_RAM,
			     O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (ram < 0)
			return err_sys(err, errno, "open '%s'", TEMPLATE_RAM);
		t.template_fd = ram;
	}
	if (hv_guest_open_proc(p->spec, &proc, err) < 0)
		return -1;
	rc = mem_map_find(proc.pid, p->ram_path, size, &t.map, err);
	if (rc == 0)
		rc = mem_file_open(fd, p->snapshot->index_sha, &index, err);
	if (rc == 0) {
		if (index.memory_pages * MEM_PAGE_SIZE != size)
			rc = err_set(err, ERR_DATA_LOSS,
				     "saved memory is of another size");
		else
			rc = mem_file_load(fd, &index, &target, p->lv->workers,
					   err);
		mem_index_free(&index);
	}
	qemu_proc_close(&proc);
	return rc;
}

static int load_state(const struct plan *p, virDomainPtr dom, struct error *err)
{
	_cleanup_close_ int fd = -EBADF;

	if (p->snapshot) {
		fd = snapshot_read_state(p->snapshot_fd, err);
	} else {
		fd = openat(p->template_fd, TEMPLATE_STATE,
			    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			err_sys(err, errno, "open '%s'", TEMPLATE_STATE);
	}
	return fd < 0 ? -1 : hv_monitor_load_state(dom, fd, err);
}

/* From waiting to running. */
static int let_go(struct plan *p, virDomainPtr dom, struct error *err)
{
	const struct snapshot_manifest *from =
		p->snapshot ? p->snapshot : p->template;
	uint64_t size = disk_size(p);

	if (!from)
		return 0;
	if (p->snapshot && !p->whole && load_pages(p, err) < 0)
		return -1;
	laps_add(&p->laps, "pages");
	if (!p->whole && load_state(p, dom, err) < 0)
		return -1;
	laps_add(&p->laps, "state");
	if (virDomainResume(dom) < 0)
		return hv_conn_error(err, "run guest '%s'", p->spec->uuid);
	laps_add(&p->laps, "run");
	/* The guest still believes the size that was saved. */
	if (from->disk_size != size)
		return hv_monitor_resize_disk(dom, size, err);
	return 0;
}

static int own_directory(const struct plan *p, struct error *err)
{
	if (fchown(p->dir_fd, p->spec->slot.uid, p->lv->gid) < 0 ||
	    fchmod(p->dir_fd, 0700) < 0)
		return err_sys(err, errno, "give guest directory '%s' to %u",
			       p->spec->dir, p->spec->slot.uid);
	return 0;
}

static int start_planned(struct plan *p, bool hold, struct error *err)
{
	_cleanup_domain_ virDomainPtr dom = NULL;

	remove_files(p->dir_fd);
	if (own_directory(p, err) < 0)
		return -1;
	if (!p->template && make_empty_ram(p, err) < 0)
		return -1;
	if (make_disk(p, DISK_ACTIVE, err) < 0)
		return -1;
	laps_add(&p->laps, "disk");
	if (make_domain(p, &dom, err) < 0)
		return -1;
	laps_add(&p->laps, "domain");
	if (limit_domain(p, err) < 0)
		return -1;
	laps_add(&p->laps, "limits");
	return hold ? 0 : let_go(p, dom, err);
}

/* It must not run, whatever was reached: the reason is kept in @err. */
static void give_up(struct plan *p)
{
	struct error ignored = { 0 };

	if (hv_guest_destroy(&p->lv->base, p->spec->uuid, &ignored) < 0)
		log_warn("guest '%s' that did not start: %s", p->spec->uuid,
			 ignored.msg);
	remove_files(p->dir_fd);
}

int hv_guest_start(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   bool hold, struct error *err)
{
	struct plan p;
	int rc = plan_init(&p, hv, spec, template_dir, snapshot_dir, err);

	if (rc == 0 && hold && !template_dir && !snapshot_dir)
		rc = err_set(err, ERR_INVALID,
			     "a guest that boots cold cannot be held");
	if (rc == 0) {
		rc = start_planned(&p, hold, err);
		if (rc < 0)
			give_up(&p);
	}
	laps_add(&p.laps, "size");
	laps_log(&p.laps, "start of guest", spec->uuid);
	plan_fini(&p);
	return rc;
}

/* The disk that was given to the waiting clone is a template's; put the
 * snapshot's in its place before anything has read it. The file stays: QEMU
 * opens all it knows again when it runs.
 */
static int exchange_disk(struct plan *p, virDomainPtr dom, struct error *err)
{
	char active[32];

	disk_layer_name(p->own_layers, active, sizeof(active));
	if (make_disk(p, active, err) < 0)
		return -1;
	return hv_monitor_replace_disk(dom, (const char *const *)p->layers,
				       p->n_layers, p->own_layers, err);
}

/* Not one that waits, but one whose save was cut off: it goes on. */
static int run_on(const struct guest_spec *spec, int dir_fd, virDomainPtr dom,
		  struct error *err)
{
	unsigned int layers;
	char active[32];

	if (hv_guest_layers(dom, spec, dir_fd, active, sizeof(active), &layers,
			    err) < 0)
		return -1;
	if (virDomainResume(dom) == 0 ||
	    virGetLastErrorCode() == VIR_ERR_OPERATION_INVALID)
		return 0;
	return hv_conn_error(err, "run guest '%s'", spec->uuid);
}

/* Its links to the guest's disk count as a snapshot's. */
static int remove_unfinished(const char *dir, struct error *err)
{
	if (!dir || (access(dir, F_OK) < 0 && errno == ENOENT))
		return 0;
	return fd_remove_tree(AT_FDCWD, dir, err);
}

int hv_guest_wake(struct hv *hv, const struct guest_spec *spec,
		  const char *snapshot_dir, struct error *err)
{
	struct hv_libvirt *lv = (struct hv_libvirt *)hv;
	_cleanup_domain_ virDomainPtr dom = NULL;
	_cleanup_close_ int dir_fd = hv_guest_open_dir(spec, err);
	int r;

	if (dir_fd < 0 || remove_unfinished(snapshot_dir, err) < 0)
		return -1;
	r = hv_conn_find(lv->conn, spec->uuid, &dom, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "no guest '%s'", spec->uuid);
	return r < 0 ? -1 : run_on(spec, dir_fd, dom, err);
}

int hv_guest_release(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, const char *snapshot_dir,
		     struct error *err)
{
	_cleanup_domain_ virDomainPtr dom = NULL;
	int waiting = -1, rc;
	struct plan p;

	rc = plan_init(&p, hv, spec, template_dir, snapshot_dir, err);
	if (rc == 0) {
		rc = hv_conn_find(p.lv->conn, spec->uuid, &dom, err);
		if (rc == 0)
			rc = err_set(err, ERR_NOT_FOUND, "no guest '%s'",
				     spec->uuid);
	}
	if (rc > 0)
		waiting = hv_monitor_is_waiting(dom, err);
	laps_add(&p.laps, "find");
	if (waiting > 0 && p.whole) {
		/* libvirt brings up its own: the clone only was in time. */
		rc = hv_guest_destroy(hv, spec->uuid, err);
		if (rc == 0)
			rc = start_planned(&p, false, err);
		if (rc < 0)
			give_up(&p);
	} else if (waiting == 0) {
		rc = run_on(spec, p.dir_fd, dom, err);
	} else if (waiting > 0) {
		rc = snapshot_dir ? exchange_disk(&p, dom, err) : 0;
		laps_add(&p.laps, "disk");
		if (rc == 0)
			rc = let_go(&p, dom, err);
		if (rc < 0)
			give_up(&p);
	}
	laps_add(&p.laps, "size");
	laps_log(&p.laps, "release of guest", spec->uuid);
	plan_fini(&p);
	return waiting < 0 ? -1 : rc;
}
