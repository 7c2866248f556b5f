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
#include "engine/hv/hv_save.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/hv/hv_monitor.h"
#include "engine/hv/hv_saving.h"
#include "engine/hv/hv_whole_save.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/mem_file.h"
#include "engine/snapshot/template.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define MIB (1ull << 20)

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

/* The whole of it, by libvirt: the guest is gone when this succeeds. */
static int save_whole(struct saving *s, bool keep_running, uint64_t *ret_bytes,
		      struct hv_progress *progress, struct error *err)
{
	int rc = saving_stop_guest(s, err);

	if (rc == 0)
		rc = hv_whole_save(s, keep_running, ret_bytes, progress, err);
	if (rc < 0 && !s->keep_out) {
		saving_remove_out(s);
		saving_run_on(s);
	}
	return rc;
}

/* A guest whose chain has become too long goes on from its own snapshot, where
 * the chain is one layer: QEMU can only add to what it has open.
 */
static int save_clone(struct saving *s, bool keep_running, uint64_t *ret_bytes,
		      struct hv_progress *progress, struct error *err)
{
	bool again = keep_running && s->layers + 1 > DISK_CHAIN_MAX;
	struct error late = { 0 };
	int rc = saving_stop_guest(s, err);

	laps_add(&s->laps, "stop");
	if (rc == 0)
		rc = save_stopped(s, keep_running && !again, ret_bytes,
				  progress, err);
	if (rc < 0) {
		saving_remove_out(s);
		saving_run_on(s);
		return -1;
	}
	if (keep_running && !again) {
		saving_run_on(s);
		return 0;
	}
	if ((again ? hv_guest_destroy(&s->lv->base, s->spec->uuid, &late)
		   : hv_guest_end(s->spec->uuid, &late)) < 0) {
		log_warn("guest '%s' is saved: %s", s->spec->uuid, late.msg);
		if (again)
			saving_run_on(s);
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
		rc = saving_make_out(&s, err);
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
		rc = saving_make_out(&s, err);
	if (rc == 0)
		rc = saving_stop_guest(&s, err);
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
		saving_remove_out(&s);
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
