/* SPDX-License-Identifier: Apache-2.0 */
/* hv_save.c - snapshots of running guests, and templates made of them
 *
 * Theory of operation
 * ===================
 *
 * The order is what makes it safe:
 *  1. stop the guest (QEMU drains and flushes its disk);
 *  2. device state into a file in memory: what it stores back into guest
 *     memory is there before pages are read;
 *  3. pages of the private mapping, and the disk layer by a second name;
 *  4. fsync of all parts, then the manifest by rename: the commit;
 *  5. only then is the guest's process ended. That libvirt has noticed is not
 *     waited for: it looks five times a second.
 * A failure in 1-4 takes the new directory away and lets the guest run on, as
 * if nothing had been. A crash leaves a directory without manifest, which
 * counts for nothing, and a stopped guest that can be let run.
 *
 * A guest that goes on gets a new disk layer while it stands still; what it
 * wrote until then is sealed under the name QEMU knows and a numbered one.
 */
#include "engine/hv/hv_guest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/hv/hv_monitor.h"
#include "engine/hv/hv_saving.h"
#include "engine/hv/hv_whole.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/mem_file.h"
#include "engine/snapshot/template.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MIB	       (1ull << 20)
#define RUN_ON_WAIT_MS 20000

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

void saving_fini(struct saving *s)
{
	page_runs_free(&s->runs);
	qemu_proc_close(&s->proc);
	fd_close(&s->dir_fd);
	fd_close(&s->out_fd);
	if (s->dom)
		virDomainFree(s->dom);
	free(s->m);
}

/* What memory is a difference from, as the manifest has it. */
static int note_template(struct saving *s, struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *t = xcalloc(1, sizeof(*t));
	_cleanup_close_ int fd = -EBADF;
	const struct snapshot_part *ram;

	fd = open(s->template_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open template '%s'",
			       s->template_dir);
	if (snapshot_read(fd, SNAPSHOT_TEMPLATE, t, err) < 0)
		return err_wrap(err, "template '%s'", s->template_dir);
	ram = snapshot_manifest_part(t, TEMPLATE_RAM);
	if (!ram)
		return err_set(err, ERR_DATA_LOSS,
			       "template '%s' has no memory", s->template_dir);
	memcpy(s->m->template_identity, t->template_identity,
	       sizeof(t->template_identity));
	memcpy(s->m->template_ram, ram->sha256, sizeof(ram->sha256));
	/* Its machine type, not the newest, is what the guest runs on. */
	memcpy(s->m->platform.machine, t->platform.machine,
	       sizeof(t->platform.machine));
	return 0;
}

static int saving_init(struct saving *s, struct hv *hv,
		       const struct guest_spec *spec, const char *template_dir,
		       const char *out, enum snapshot_kind kind,
		       struct error *err)
{
	int n;

	*s = (struct saving){ .lv = (struct hv_libvirt *)hv,
			      .spec = spec,
			      .template_dir = template_dir,
			      .out = out,
			      .dir_fd = -EBADF,
			      .out_fd = -EBADF,
			      .proc = QEMU_PROC_NONE };
	laps_begin(&s->laps);
	s->m = xcalloc(1, sizeof(*s->m));
	s->m->kind = kind;
	s->m->created_ms = loop_wall_ms();
	s->m->cpu = spec->cpu;
	s->m->memory_mib = spec->memory_mib;
	if (str_copy(s->m->image_digest, sizeof(s->m->image_digest),
		     spec->image_digest) < 0)
		return err_set(err, ERR_INVALID, "digest of the image");
	hv_guest_platform(s->lv, spec, &s->m->platform);
	if (template_dir && note_template(s, err) < 0)
		return -1;
	s->dir_fd = hv_guest_open_dir(spec, err);
	if (s->dir_fd < 0)
		return -1;
	n = hv_conn_find(s->lv->conn, spec->uuid, &s->dom, err);
	if (n == 0)
		return err_set(err, ERR_NOT_FOUND, "no guest '%s'", spec->uuid);
	if (n < 0 || hv_guest_layers(s->dom, spec, s->dir_fd, s->active,
				     sizeof(s->active), &s->layers, err) < 0)
		return -1;
	if (s->layers >= DISK_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "disk of %u layers", s->layers);
	s->out_layers = s->layers;
	if (disk_read_size(s->dir_fd, s->active, &s->m->disk_size, err) < 0)
		return -1;
	return hv_guest_open_proc(spec, &s->proc, err);
}

/* The new directory: made, or there and empty of a manifest. */
static int make_out(struct saving *s, struct error *err)
{
	if (mkdir(s->out, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make directory '%s'", s->out);
	s->out_fd =
		open(s->out, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->out_fd < 0)
		return err_sys(err, errno, "open directory '%s'", s->out);
	if (faccessat(s->out_fd, SNAPSHOT_MANIFEST_NAME, F_OK, 0) == 0)
		return err_set(err, ERR_EXISTS, "'%s' is there already",
			       s->out);
	return 0;
}

static void remove_out(const struct saving *s)
{
	struct error err = { 0 };

	if (s->out_fd >= 0 && fd_remove_tree(AT_FDCWD, s->out, &err) < 0)
		log_warn("unfinished '%s' is left: %s", s->out, err.msg);
}

static int stop_guest(const struct saving *s, struct error *err)
{
	int state, reason;

	if (virDomainGetState(s->dom, &state, &reason, 0) < 0)
		return hv_conn_error(err, "look at guest '%s'", s->spec->uuid);
	if (state == VIR_DOMAIN_PAUSED)
		return 0;
	if (virDomainSuspend(s->dom) < 0)
		return hv_conn_error(err, "stop guest '%s'", s->spec->uuid);
	return 0;
}

/* Steps 2 and the first half of 3. */
static int look(struct saving *s, int *ret_state_fd, struct error *err)
{
	_cleanup_close_ int fd = snapshot_memfd("sandbox-state", err);
	char ram_path[PATH_MAX];

	if (fd < 0 || hv_monitor_save_state(s->dom, fd, err) < 0)
		return -1;
	laps_add(&s->laps, "state");
	hv_guest_ram_path(s->spec, s->template_dir, ram_path);
	if (mem_map_find(s->proc.pid, ram_path, s->spec->memory_mib * MIB,
			 &s->map, err) < 0 ||
	    mem_pages_written(&s->map, &s->runs, err) < 0)
		return -1;
	laps_add(&s->laps, "pages");
	*ret_state_fd = TAKE_FD(fd);
	return 0;
}

static int read_process(void *arg, const struct page_run *runs, size_t n,
			uint8_t *buf)
{
	const struct saving *s = arg;

	return mem_pages_read(&s->map, runs, n, buf);
}

static int write_memory(struct saving *s, struct hv_progress *progress,
			struct error *err)
{
	struct mem_source source = { .read = read_process, .arg = s };
	_cleanup_close_ int fd = openat(
		s->out_fd, SNAPSHOT_MEM,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct mem_file_stats stats;

	if (fd < 0)
		return err_sys(err, errno, "create '%s'", SNAPSHOT_MEM);
	if (mem_file_write(fd, &source, &s->runs, s->map.size / MEM_PAGE_SIZE,
			   s->lv->workers, progress, &stats, err) < 0)
		return -1;
	s->m->data_pages = stats.data_pages;
	s->m->zero_pages = stats.zero_pages;
	memcpy(s->m->index_sha, stats.index_sha, sizeof(stats.index_sha));
	return 0;
}

int saving_link_disk(struct saving *s, struct error *err)
{
	char name[32];

	disk_layer_name(s->layers, name, sizeof(name));
	if (disk_link_layers(s->dir_fd, s->out_fd, s->layers, err) < 0)
		return -1;
	return disk_seal(s->dir_fd, s->active, s->out_fd, name,
			 s->spec->slot.uid, err);
}

/* The disk's part of a save, beside the memory's: the new layer's bytes reach
 * the disk while pages are compressed.
 */
struct disk_job {
	struct saving *s;
	int rc;
	struct error err;
};

static void *run_disk_job(void *arg)
{
	struct disk_job *job = arg;
	struct saving *s = job->s;

	job->rc = saving_link_disk(s, &job->err);
	return NULL;
}

/* Step 3. */
static int write_parts(struct saving *s, int state_fd,
		       struct hv_progress *progress, struct error *err)
{
	struct disk_job job = { .s = s };
	pthread_t thread;
	bool beside;
	int rc;

	beside = pthread_create(&thread, NULL, run_disk_job, &job) == 0;
	if (!beside)
		run_disk_job(&job);
	rc = write_memory(s, progress, err);
	if (rc == 0)
		rc = snapshot_write_state(s->out_fd, state_fd, err);
	laps_add(&s->laps, "memory");
	if (beside)
		pthread_join(thread, NULL);
	laps_add(&s->laps, "disk");
	if (rc == 0 && job.rc < 0) {
		if (err)
			*err = job.err;
		rc = -1;
	}
	return rc;
}

/* The guest writes somewhere else from here on. */
static int add_layer(struct saving *s, struct error *err)
{
	_cleanup_free_ char *path = NULL;
	char sealed[32], next[32];
	int r;

	disk_layer_name(s->layers, sealed, sizeof(sealed));
	disk_layer_name(s->layers + 1, next, sizeof(next));
	/* QEMU says how many it has: this one is left over. */
	unlinkat(s->dir_fd, next, 0);
	if (strcmp(s->active, sealed) != 0 &&
	    disk_seal(s->dir_fd, s->active, s->dir_fd, sealed,
		      s->spec->slot.uid, err) < 0)
		return -1;
	if (disk_create(s->dir_fd, next, s->m->disk_size, sealed, "qcow2",
			s->spec->slot.uid, err) == 0) {
		path = xasprintf("%s/%s", s->spec->dir, next);
		r = hv_monitor_add_layer(s->dom, path, s->layers + 1, err);
		if (r == 0)
			return disk_make_readonly(s->dir_fd, sealed, 0, 0444,
						  err);
		/* Nobody knows: it may be what the guest writes to. */
		if (r > 0)
			return -1;
		unlinkat(s->dir_fd, next, 0);
	}
	if (strcmp(s->active, sealed) != 0)
		unlinkat(s->dir_fd, sealed, 0);
	return -1;
}

/* A long chain becomes one layer. That it does not is no reason to fail. It is
 * made in the guest's directory, which qemu-img with the guest's rights can
 * reach, and only then linked into the new one.
 */
void saving_merge_layers(struct saving *s)
{
	const char *format = s->template_dir ? "qcow2" : "raw";
	_cleanup_free_ char *base =
		s->template_dir
			? xasprintf("%s/%s", s->template_dir, TEMPLATE_DISK)
			: xstrdup(s->spec->image_disk);
	struct error err = { 0 };
	char name[32];

	unlinkat(s->dir_fd, DISK_MERGED, 0);
	if (disk_merge(s->lv->qemu_img, s->spec->dir, s->active, DISK_MERGED,
		       base, format, s->spec->slot.uid, s->lv->gid, NULL,
		       &err) < 0 ||
	    disk_seal(s->dir_fd, DISK_MERGED, s->out_fd, DISK_MERGED,
		      s->spec->slot.uid, &err) < 0) {
		log_warn("snapshot '%s' keeps %u disk layers: %s", s->out,
			 s->layers + 1, err.msg);
		unlinkat(s->dir_fd, DISK_MERGED, 0);
		return;
	}
	unlinkat(s->dir_fd, DISK_MERGED, 0);
	for (unsigned int n = 0; n <= s->layers; n++) {
		disk_layer_name(n, name, sizeof(name));
		unlinkat(s->out_fd, name, 0);
	}
	disk_layer_name(0, name, sizeof(name));
	renameat(s->out_fd, DISK_MERGED, s->out_fd, name);
	s->out_layers = 0;
}

int saving_add_disks(int out_fd, unsigned int layers,
		     struct snapshot_manifest *m, struct error *err)
{
	char name[32];

	for (unsigned int n = 0; n <= layers; n++) {
		disk_layer_name(n, name, sizeof(name));
		if ((n == layers &&
		     disk_make_readonly(out_fd, name, 0, 0444, err) < 0) ||
		    snapshot_add_part(out_fd, name, m, err) < 0)
			return -1;
	}
	return 0;
}

uint64_t saving_bytes(const struct snapshot_manifest *m)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < m->n_parts; i++)
		bytes += m->parts[i].size;
	return bytes;
}

/* Step 4. */
static int commit(struct saving *s, uint64_t *ret_bytes, struct error *err)
{
	laps_add(&s->laps, "layer");
	if (saving_add_disks(s->out_fd, s->out_layers, s->m, err) < 0)
		return -1;
	laps_add(&s->laps, "disk sum");
	if (snapshot_add_part(s->out_fd, SNAPSHOT_MEM, s->m, err) < 0 ||
	    snapshot_add_part(s->out_fd, SNAPSHOT_STATE, s->m, err) < 0)
		return -1;
	laps_add(&s->laps, "memory sum");
	if (snapshot_commit(s->out, s->out_fd, s->m, err) < 0)
		return -1;
	laps_add(&s->laps, "manifest");
	*ret_bytes = saving_bytes(s->m);
	return 0;
}

static int save_stopped(struct saving *s, bool keep_running,
			uint64_t *ret_bytes, struct hv_progress *progress,
			struct error *err)
{
	_cleanup_close_ int state_fd = -EBADF;

	if (look(s, &state_fd, err) < 0 ||
	    write_parts(s, state_fd, progress, err) < 0)
		return -1;
	if (progress && progress->cancel)
		return err_set(err, ERR_CANCELLED, "save: stopped");
	if (keep_running) {
		if (add_layer(s, err) < 0)
			return -1;
	} else if (s->layers + 1 > DISK_CHAIN_MAX) {
		saving_merge_layers(s);
	}
	return commit(s, ret_bytes, err);
}

/* One try: 1 it runs, or is no more; 0 libvirt does not answer; -1. */
static int try_run_on(struct saving *s, struct error *err)
{
	_cleanup_domain_ virDomainPtr dom = NULL;
	int r = hv_conn_find(s->lv->conn, s->spec->uuid, &dom, err);

	if (r < 0)
		return err->code == ERR_UNAVAILABLE ? 0 : -1;
	if (r == 0)
		return 1;
	/* What was sealed goes back to it, unless it writes elsewhere. */
	if (hv_guest_layers(dom, s->spec, s->dir_fd, s->active,
			    sizeof(s->active), &s->layers, err) < 0)
		return err->code == ERR_UNAVAILABLE ? 0 : -1;
	if (virDomainResume(dom) == 0 ||
	    virGetLastErrorCode() == VIR_ERR_OPERATION_INVALID)
		return 1;
	hv_conn_error(err, "let it run");
	return err->code == ERR_UNAVAILABLE ? 0 : -1;
}

/* The guest must not stand still because libvirt went away in mid-save: it is
 * waited for. Longer than this it is the life cycle's to find it stopped.
 */
static void run_on(struct saving *s)
{
	uint64_t deadline = loop_now_ms() + RUN_ON_WAIT_MS;
	struct timespec pause = { .tv_nsec = 100000000 };
	struct error err = { 0 };
	int r;

	while ((r = try_run_on(s, &err)) == 0 && loop_now_ms() < deadline)
		nanosleep(&pause, NULL);
	if (r <= 0)
		log_err("guest '%s' stands still after its save: %s",
			s->spec->uuid, err.msg);
}

/* The whole of it, by libvirt: the guest is gone when this succeeds. */
static int save_whole(struct saving *s, bool keep_running, uint64_t *ret_bytes,
		      struct hv_progress *progress, struct error *err)
{
	int rc = stop_guest(s, err);

	if (rc == 0)
		rc = hv_whole_save(s, keep_running, ret_bytes, progress, err);
	if (rc < 0 && !s->keep_out) {
		remove_out(s);
		run_on(s);
	}
	return rc;
}

int saving_start_again(struct saving *s, struct error *err)
{
	uint64_t deadline = loop_now_ms() + RUN_ON_WAIT_MS;
	struct timespec pause = { .tv_nsec = 100000000 };

	while (hv_guest_start(&s->lv->base, s->spec, s->template_dir, s->out,
			      false, err) < 0) {
		if (loop_now_ms() > deadline)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A guest whose chain has become too long goes on from its own snapshot, where
 * the chain is one layer: QEMU can only add to what it has open.
 */
static int save_clone(struct saving *s, bool keep_running, uint64_t *ret_bytes,
		      struct hv_progress *progress, struct error *err)
{
	bool again = keep_running && s->layers + 1 > DISK_CHAIN_MAX;
	struct error late = { 0 };
	int rc = stop_guest(s, err);

	laps_add(&s->laps, "stop");
	if (rc == 0)
		rc = save_stopped(s, keep_running && !again, ret_bytes,
				  progress, err);
	if (rc < 0) {
		remove_out(s);
		run_on(s);
		return -1;
	}
	if (keep_running && !again) {
		run_on(s);
		return 0;
	}
	if ((again ? hv_guest_destroy(&s->lv->base, s->spec->uuid, &late)
		   : hv_guest_end(s->spec->uuid, &late)) < 0) {
		log_warn("guest '%s' is saved: %s", s->spec->uuid, late.msg);
		if (again)
			run_on(s);
		return 0;
	}
	return again ? saving_start_again(s, err) : 0;
}

int hv_guest_save(struct hv *hv, const struct guest_spec *spec,
		  const char *template_dir, const char *snapshot_dir,
		  bool keep_running, uint64_t *ret_bytes,
		  struct hv_progress *progress, struct error *err)
{
	struct saving s;
	uint64_t bytes = 0;
	int rc;

	rc = saving_init(&s, hv, spec, template_dir, snapshot_dir,
			 SNAPSHOT_GUEST, err);
	if (rc == 0)
		rc = make_out(&s, err);
	laps_add(&s.laps, "look up");
	if (rc == 0)
		rc = (hv->info.clones_work ? save_clone : save_whole)(
			&s, keep_running, &bytes, progress, err);
	if (rc == 0 && ret_bytes)
		*ret_bytes = bytes;
	laps_add(&s.laps, "end");
	laps_log(&s.laps, "save of guest", spec->uuid);
	saving_fini(&s);
	return rc < 0 ? err_wrap(err, "save guest '%s'", spec->uuid) : 0;
}

static int capture_stopped(struct saving *s, struct hv_progress *progress,
			   struct error *err)
{
	_cleanup_close_ int state_fd = -EBADF;
	_cleanup_close_ int to = -EBADF;
	_cleanup_free_ uint8_t *state = NULL;
	struct stat st;
	int r;

	if (look(s, &state_fd, err) < 0 ||
	    template_write_ram(s->out_fd, &s->map, &s->runs, progress, err) < 0 ||
	    disk_seal(s->dir_fd, s->active, s->out_fd, TEMPLATE_DISK,
		      s->spec->slot.uid, err) < 0)
		return -1;
	to = openat(s->out_fd, TEMPLATE_STATE,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0 || fstat(state_fd, &st) < 0)
		return err_sys(err, errno, "create '%s'", TEMPLATE_STATE);
	if (st.st_size <= 0 || st.st_size > SNAPSHOT_STATE_MAX)
		return err_set(err, ERR_LIMIT, "device state of %lld bytes",
			       (long long)st.st_size);
	state = xcalloc(1, (size_t)st.st_size);
	r = fd_pread_full(state_fd, state, (size_t)st.st_size, 0);
	if (r == 0)
		r = fd_write_full(to, state, (size_t)st.st_size);
	return r < 0 ? err_sys(err, -r, "write '%s'", TEMPLATE_STATE) : 0;
}

static int commit_template(struct saving *s, struct error *err)
{
	snapshot_identity(s->m, s->m->template_identity);
	if (template_share(s->out_fd, s->lv->gid, s->lv->probe.ram_readonly,
			   err) < 0 ||
	    snapshot_add_part(s->out_fd, TEMPLATE_RAM, s->m, err) < 0 ||
	    snapshot_add_part(s->out_fd, TEMPLATE_STATE, s->m, err) < 0 ||
	    snapshot_add_part(s->out_fd, TEMPLATE_DISK, s->m, err) < 0)
		return -1;
	return snapshot_commit(s->out, s->out_fd, s->m, err);
}

int hv_guest_capture(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, struct hv_progress *progress,
		     struct error *err)
{
	struct error late = { 0 };
	struct saving s;
	int rc;

	rc = saving_init(&s, hv, spec, NULL, template_dir, SNAPSHOT_TEMPLATE,
			 err);
	if (rc == 0 && s.layers > 0)
		rc = err_set(err, ERR_CONFLICT, "it was not booted cold");
	if (rc == 0)
		rc = make_out(&s, err);
	if (rc == 0)
		rc = stop_guest(&s, err);
	if (rc == 0)
		rc = capture_stopped(&s, progress, err);
	if (rc == 0 && progress && progress->cancel)
		rc = err_set(err, ERR_CANCELLED, "stopped");
	/* It must not write its layer any more when that is measured. */
	if (hv_guest_destroy(hv, spec->uuid, &late) < 0 && rc == 0) {
		if (err)
			*err = late;
		rc = -1;
	}
	if (rc == 0)
		rc = commit_template(&s, err);
	if (rc < 0) {
		remove_out(&s);
		err_wrap(err, "make a template of '%s'", spec->uuid);
	}
	saving_fini(&s);
	return rc;
}

int hv_guest_verify(struct hv *hv, const char *snapshot_dir, struct error *err)
{
	struct hv_libvirt *lv = (struct hv_libvirt *)hv;

	if (hv_whole_finish(lv, snapshot_dir, err) < 0)
		return -1;
	return snapshot_verify(snapshot_dir, lv->workers, err);
}
