/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_keep.c - an import's files, from empty ones to a snapshot
 *
 * Theory of operation
 * ===================
 *
 * sandboxd-parcel, which has read bytes of anybody's, only fills files with
 * pages and disk layers. Everything that the engine will parse later is made
 * here: the file of memory from the pages, the compressed state, the headers of
 * disk layers, the manifests with their checksums.
 *
 * All of it is made in a directory whose name begins with a dot. The two
 * renames at the end put it in place; rows in the database make it count. A
 * crash before leaves what the next start removes.
 */
#include "engine/snapshot/parcel_keep.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/mem_file.h"
#include "engine/snapshot/template.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define RAW_MEMORY  "memory.raw"
#define RAW_RUNS    "memory.runs"
#define RAW_STATE   "state.raw"
#define THREADS_MAX 8
#define MIB	    (1ull << 20)

static uint64_t memory_size(const struct parcel_keep *k)
{
	return (uint64_t)k->m->memory_mib * MIB;
}

/* ---- prepare ---- */

static bool is_its_template(const struct parcel_keep *k, const char *dir)
{
	_cleanup_free_ struct snapshot_manifest *t = xcalloc(1, sizeof(*t));
	const struct snapshot_part *ram;

	/* One that looks altered is moved aside by this. */
	if (template_open(dir, t, NULL) < 0)
		return false;
	ram = snapshot_manifest_part(t, TEMPLATE_RAM);
	return ram && strcmp(ram->sha256, k->m->template_ram) == 0;
}

static void find_template(struct parcel_keep *k)
{
	k->found = -1;
	for (size_t i = 0; i < k->n_known && k->found < 0; i++)
		if (is_its_template(k, k->known[i]))
			k->found = (int)i;
}

static bool is_wanted(const struct parcel_keep *k, const ParcelPart *part)
{
	return k->found < 0 || !parcel_part_is_template(part);
}

/* Memory is there twice for a while: as pages, and as what is made of them. */
static int check_room(struct parcel_keep *k, struct error *err)
{
	uint64_t need = 0, have;
	struct statvfs fs;

	for (size_t i = 0; i < k->m->n_parts; i++) {
		const ParcelPart *part = k->m->parts[i];

		if (!is_wanted(k, part))
			continue;
		need += part->kind == PARCEL_KIND(MEMORY) ? 2 * part->size
							  : part->size;
		if (part->size > k->file_max)
			k->file_max = part->size;
	}
	/* Pages go to their places. */
	if (memory_size(k) > k->file_max)
		k->file_max = memory_size(k);
	if (statvfs(k->staging, &fs) < 0)
		return err_sys(err, errno, "look at '%s'", k->staging);
	have = (uint64_t)fs.f_bavail * fs.f_frsize;
	have = have > k->reserve ? have - k->reserve : 0;
	if (need > have)
		return err_set(err, ERR_LIMIT,
			       "the snapshot needs %llu MiB of disk, %llu MiB "
			       "are free",
			       (unsigned long long)(need / MIB + 1),
			       (unsigned long long)(have / MIB));
	return 0;
}

static int make_file(struct parcel_keep *k, const char *dir, const char *name,
		     uint64_t size, struct error *err)
{
	_cleanup_free_ char *path =
		xasprintf("%s/%s/%s", k->staging, dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		      0600);

	if (fd < 0)
		return err_sys(err, errno, "make '%s'", path);
	k->fds[k->n_fds++] = fd;
	if (ftruncate(fd, (off_t)size) < 0)
		return err_sys(err, errno, "size '%s'", path);
	return 0;
}

static int make_part(struct parcel_keep *k, const ParcelPart *part,
		     unsigned int *disks, struct error *err)
{
	char name[32];

	switch (part->kind) {
	case PARCEL_KIND(TEMPLATE_MEMORY):
		return make_file(k, "template", TEMPLATE_RAM, memory_size(k),
				 err);
	case PARCEL_KIND(TEMPLATE_STATE):
		return make_file(k, "template", TEMPLATE_STATE, part->size,
				 err);
	case PARCEL_KIND(TEMPLATE_DISK):
		return make_file(k, "template", TEMPLATE_DISK, part->size, err);
	case PARCEL_KIND(MEMORY):
		if (make_file(k, "", RAW_MEMORY, memory_size(k), err) < 0)
			return -1;
		return make_file(k, "", RAW_RUNS, 0, err);
	case PARCEL_KIND(STATE):
		return make_file(k, "", RAW_STATE, part->size, err);
	default:
		disk_layer_name((*disks)++, name, sizeof(name));
		return make_file(k, "snapshot", name, part->size, err);
	}
}

static int make_dir(const struct parcel_keep *k, const char *name,
		    struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", k->staging, name);

	return mkdir(path, 0700) < 0 ? err_sys(err, errno, "make '%s'", path)
				     : 0;
}

int parcel_keep_prepare(struct parcel_keep *k, struct error *err)
{
	unsigned int disks = 0;

	if (make_dir(k, "", err) < 0 || make_dir(k, "snapshot", err) < 0 ||
	    make_dir(k, "template", err) < 0)
		return -1;
	find_template(k);
	if (check_room(k, err) < 0)
		return -1;
	for (size_t i = 0; i < k->m->n_parts; i++)
		if (is_wanted(k, k->m->parts[i]) &&
		    make_part(k, k->m->parts[i], &disks, err) < 0)
			return -1;
	return 0;
}

/* ---- seal ---- */

static int open_dir(const struct parcel_keep *k, const char *name,
		    struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", k->staging, name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? err_sys(err, errno, "open '%s'", path) : fd;
}

static void fill_manifest(const struct parcel_keep *k,
			  struct snapshot_manifest *m)
{
	*m = (struct snapshot_manifest){
		.kind = SNAPSHOT_GUEST,
		.created_ms = k->m->created_ms,
		.cpu = k->m->cpu,
		.memory_mib = k->m->memory_mib,
		.disk_size = k->m->disk_size,
	};
	str_copy(m->image_digest, sizeof(m->image_digest), k->m->image_digest);
	str_copy(m->template_ram, sizeof(m->template_ram), k->m->template_ram);
	parcel_sheet_platform(k->m->platform, &m->platform);
}

static void fill_template(const struct parcel_keep *k,
			  struct snapshot_manifest *t)
{
	fill_manifest(k, t);
	t->kind = SNAPSHOT_TEMPLATE;
	t->created_ms = k->m->template_->created_ms;
	t->disk_size = k->m->template_->disk_size;
	t->template_ram[0] = '\0';
	parcel_sheet_platform(k->m->template_->platform, &t->platform);
	snapshot_identity(t, t->template_identity);
}

static int check_disk_size(uint64_t size, uint64_t want, const char *part,
			   struct error *err)
{
	return size == want ? 0
			    : err_set(err, ERR_DATA_LOSS,
				      "part '%s' is of %llu bytes, not %llu",
				      part, (unsigned long long)size,
				      (unsigned long long)want);
}

static int seal_template(struct parcel_keep *k, struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *t = xcalloc(1, sizeof(*t));
	_cleanup_free_ char *dir = xasprintf("%s/template", k->staging);
	_cleanup_close_ int fd = open_dir(k, "template", err);
	uint64_t size;

	if (fd < 0)
		return -1;
	fill_template(k, t);
	if (disk_adopt(fd, TEMPLATE_DISK, k->image_disk, "raw", &size, err) < 0)
		return err_wrap(err, "part 'template disk'");
	if (check_disk_size(size, t->disk_size, "template disk", err) < 0 ||
	    template_share(fd, k->gid, k->ram_readonly, err) < 0 ||
	    snapshot_add_part(fd, TEMPLATE_RAM, t, err) < 0 ||
	    snapshot_add_part(fd, TEMPLATE_STATE, t, err) < 0 ||
	    snapshot_add_part(fd, TEMPLATE_DISK, t, err) < 0)
		return -1;
	if (strcmp(t->parts[0].sha256, k->m->template_ram) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "part 'template memory' is not what the "
			       "snapshot is a difference from");
	if (snapshot_commit(dir, fd, t, err) < 0)
		return -1;
	return template_size(dir, &k->template_bytes, err);
}

/* What the layers below are called on this node. */
static int seal_disks(struct parcel_keep *k, int fd,
		      struct snapshot_manifest *m, struct error *err)
{
	_cleanup_free_ char *base =
		k->m->template_ ? xasprintf("%s/%s",
					    k->found < 0 ? k->template_dir
							 : k->known[k->found],
					    TEMPLATE_DISK)
				: xstrdup(k->image_disk);
	const char *format = k->m->template_ ? "qcow2" : "raw";
	char name[32], below[32];
	uint64_t size = 0;
	unsigned int n = 0;

	for (size_t i = 0; i < k->m->n_parts; i++) {
		if (k->m->parts[i]->kind != PARCEL_KIND(DISK))
			continue;
		disk_layer_name(n, name, sizeof(name));
		if (disk_adopt(fd, name, n ? below : base, n ? "qcow2" : format,
			       &size, err) < 0)
			return err_wrap(err, "part 'disk %u'", n);
		if (disk_make_readonly(fd, name, 0, 0444, err) < 0 ||
		    snapshot_add_part(fd, name, m, err) < 0)
			return -1;
		str_copy(below, sizeof(below), name);
		n++;
	}
	snprintf(below, sizeof(below), "disk %u", n - 1);
	return check_disk_size(size, k->m->disk_size, below, err);
}

/* The table that sandboxd-parcel wrote; believed only as far as it is right. */
static int read_runs(int fd, uint64_t pages, struct page_runs *ret,
		     struct error *err)
{
	_cleanup_free_ struct page_run *table = NULL;
	struct stat st;
	uint64_t next = 0;
	size_t n;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at the runs of memory");
	n = (size_t)st.st_size / sizeof(*table);
	if (n > pages || (size_t)st.st_size % sizeof(*table))
		return err_set(err, ERR_DATA_LOSS, "runs of part 'memory'");
	table = xcalloc(n + 1, sizeof(*table));
	r = fd_pread_full(fd, table, n * sizeof(*table), 0);
	if (r < 0)
		return err_sys(err, -r, "read the runs of memory");
	for (size_t i = 0; i < n; i++) {
		uint64_t end = (uint64_t)table[i].first + table[i].count;

		if (table[i].first < next || end > pages)
			return err_set(err, ERR_DATA_LOSS,
				       "runs of part 'memory'");
		for (uint64_t page = table[i].first; page < end; page++)
			page_runs_add(ret, (uint32_t)page);
		next = end;
	}
	return 0;
}

struct raw {
	int fd;
	struct parcel_keep *k;
};

static int read_raw(void *arg, const struct page_run *runs, size_t n,
		    uint8_t *buf)
{
	const struct raw *raw = arg;

	if (atomic_load(&raw->k->cancel))
		return -ECANCELED;
	for (size_t i = 0; i < n; i++) {
		size_t len = (size_t)runs[i].count * MEM_PAGE_SIZE;
		int r = fd_pread_full(raw->fd, buf, len,
				      (off_t)runs[i].first * MEM_PAGE_SIZE);

		if (r < 0)
			return r;
		buf += len;
	}
	return 0;
}

static unsigned int threads(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned int)n;
}

static int seal_memory(struct parcel_keep *k, int stage_fd, int fd,
		       struct snapshot_manifest *m, struct error *err)
{
	_cleanup_close_ int raw_fd =
		openat(stage_fd, RAW_MEMORY, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int runs_fd =
		openat(stage_fd, RAW_RUNS, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int out = openat(
		fd, SNAPSHOT_MEM,
		O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct raw raw = { raw_fd, k };
	struct mem_source source = { .read = read_raw, .arg = &raw };
	uint64_t pages = memory_size(k) / MEM_PAGE_SIZE;
	struct page_runs runs = { 0 };
	struct mem_file_stats stats;
	int rc;

	if (raw_fd < 0 || runs_fd < 0 || out < 0)
		return err_sys(err, errno, "open memory");
	rc = read_runs(runs_fd, pages, &runs, err);
	if (rc == 0)
		rc = mem_file_write(out, &source, &runs, pages, threads(), NULL,
				    &stats, err);
	page_runs_free(&runs);
	if (rc < 0)
		return -1;
	m->data_pages = stats.data_pages;
	m->zero_pages = stats.zero_pages;
	memcpy(m->index_sha, stats.index_sha, sizeof(m->index_sha));
	unlinkat(stage_fd, RAW_MEMORY, 0);
	unlinkat(stage_fd, RAW_RUNS, 0);
	return 0;
}

static int seal_state(int stage_fd, int fd, struct error *err)
{
	_cleanup_close_ int raw =
		openat(stage_fd, RAW_STATE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (raw < 0)
		return err_sys(err, errno, "open device state");
	if (snapshot_write_state(fd, raw, err) < 0)
		return -1;
	unlinkat(stage_fd, RAW_STATE, 0);
	return 0;
}

static int seal_snapshot(struct parcel_keep *k, struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *m = xcalloc(1, sizeof(*m));
	_cleanup_free_ char *dir = xasprintf("%s/snapshot", k->staging);
	_cleanup_close_ int stage_fd = open_dir(k, "", err);
	_cleanup_close_ int fd = -EBADF;

	if (stage_fd < 0)
		return -1;
	fd = open_dir(k, "snapshot", err);
	if (fd < 0)
		return -1;
	fill_manifest(k, m);
	if (k->m->template_) {
		struct snapshot_manifest *t = xcalloc(1, sizeof(*t));

		fill_template(k, t);
		memcpy(m->template_identity, t->template_identity,
		       sizeof(m->template_identity));
		free(t);
	}
	if (seal_disks(k, fd, m, err) < 0 ||
	    seal_memory(k, stage_fd, fd, m, err) < 0 ||
	    seal_state(stage_fd, fd, err) < 0 ||
	    snapshot_add_part(fd, SNAPSHOT_MEM, m, err) < 0 ||
	    snapshot_add_part(fd, SNAPSHOT_STATE, m, err) < 0 ||
	    snapshot_commit(dir, fd, m, err) < 0)
		return -1;
	for (size_t i = 0; i < m->n_parts; i++)
		k->bytes += m->parts[i].size;
	return 0;
}

static int put_in_place(const struct parcel_keep *k, const char *name,
			const char *to, bool *placed, struct error *err)
{
	_cleanup_free_ char *from = xasprintf("%s/%s", k->staging, name);
	_cleanup_free_ char *parent = xasprintf("%s/..", to);
	int r;

	if (rename(from, to) < 0)
		return err_sys(err, errno, "move to '%s'", to);
	*placed = true;
	r = fd_sync_dir(parent);
	return r < 0 ? err_sys(err, -r, "sync '%s'", parent) : 0;
}

int parcel_keep_seal(struct parcel_keep *k, struct error *err)
{
	for (size_t i = 0; i < k->n_fds; i++)
		fd_close(&k->fds[i]);
	k->n_fds = 0;
	if (k->m->template_ && k->found < 0 && seal_template(k, err) < 0)
		return -1;
	if (seal_snapshot(k, err) < 0)
		return -1;
	if (atomic_load(&k->cancel))
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (k->m->template_ && k->found < 0 &&
	    put_in_place(k, "template", k->template_dir, &k->placed_template,
			 err) < 0)
		return -1;
	if (put_in_place(k, "snapshot", k->snapshot_dir, &k->placed_snapshot,
			 err) < 0)
		return -1;
	return fd_remove_tree(AT_FDCWD, k->staging, err);
}

int parcel_keep_remove(struct parcel_keep *k, struct error *err)
{
	if (k->placed_template &&
	    fd_remove_tree(AT_FDCWD, k->template_dir, err) < 0)
		return -1;
	if (k->placed_snapshot &&
	    fd_remove_tree(AT_FDCWD, k->snapshot_dir, err) < 0)
		return -1;
	return fd_remove_tree(AT_FDCWD, k->staging, err);
}

void parcel_keep_fini(struct parcel_keep *k)
{
	for (size_t i = 0; i < k->n_fds; i++)
		fd_close(&k->fds[i]);
	sandbox__ipc__v1__parcel_manifest__free_unpacked(k->m, NULL);
	free(k->known);
}
