/* SPDX-License-Identifier: Apache-2.0 */
/* disk.c - a guest's disk as layers of qcow2
 *
 * Theory of operation
 * ===================
 *
 * A guest's directory belongs to the uid of its QEMU, which we do not trust.
 * So nothing in it is opened through a link, and a layer counts as sealed only
 * if it is a regular file of root's that nobody may write: such a file cannot
 * be made by that uid, only moved about among its own. Layers are never parsed
 * here beyond the size in a header we are about to stand on, and libvirt gets
 * the chain from us, not from the headers.
 *
 * The names in headers are for people and qemu-img: relative between a guest's
 * own layers, so that a directory of hard links is a whole chain.
 */
#include "engine/snapshot/disk.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/proc/child.h"

#include <endian.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CLUSTER_SIZE	   65536u
#define L1_COVERS	   (8192ull * CLUSTER_SIZE) /* bytes by one L1 entry */
#define BACKING_NAME_MAX   1023u		    /* qcow2's own limit */
#define EXT_BACKING_FORMAT 0xe2792acau
#define MERGE_TIMEOUT_MS   (10 * 60 * 1000)

/* The header as it is on disk; big endian. */
struct qcow2_header {
	uint32_t magic;
	uint32_t version;
	uint64_t backing_offset;
	uint32_t backing_size;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_size;
	uint64_t l1_offset;
	uint64_t refcount_offset;
	uint32_t refcount_clusters;
	uint32_t n_snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order;
	uint32_t header_length;
} __attribute__((packed));

#define QCOW2_MAGIC 0x514649fbu

void disk_layer_name(unsigned int n, char *buf, size_t size)
{
	snprintf(buf, size, "disk.%u.qcow2", n);
}

/* Clusters: 0 header and backing name, 1 refcount table, 2 the one refcount
 * block, 3 L1 table (empty: all is read from below).
 */
int disk_header(uint8_t *buf, uint64_t size, const char *backing,
		const char *backing_format)
{
	size_t name_len = strlen(backing), fmt_len = strlen(backing_format);
	uint64_t l1_size = (size + L1_COVERS - 1) / L1_COVERS;
	struct qcow2_header h;
	uint8_t *p = buf + sizeof(h);
	uint32_t be32;
	uint64_t be64 = htobe64(2 * CLUSTER_SIZE);
	uint16_t one = htobe16(1);

	if (size == 0 || size % 512 || size > DISK_SIZE_MAX || name_len == 0 ||
	    name_len > BACKING_NAME_MAX || fmt_len > 8)
		return -EINVAL;
	memset(buf, 0, DISK_HEADER_SIZE);
	be32 = htobe32(EXT_BACKING_FORMAT);
	memcpy(p, &be32, 4);
	be32 = htobe32((uint32_t)fmt_len);
	memcpy(p + 4, &be32, 4);
	memcpy(p + 8, backing_format, fmt_len);
	p += 16 + 8; /* the format padded to 8, and the end of extensions */
	memcpy(p, backing, name_len);
	h = (struct qcow2_header){
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(3),
		.backing_offset = htobe64((uint64_t)(p - buf)),
		.backing_size = htobe32((uint32_t)name_len),
		.cluster_bits = htobe32(16),
		.size = htobe64(size),
		.l1_size = htobe32((uint32_t)l1_size),
		.l1_offset = htobe64(3 * CLUSTER_SIZE),
		.refcount_offset = htobe64(CLUSTER_SIZE),
		.refcount_clusters = htobe32(1),
		.refcount_order = htobe32(4),
		.header_length = htobe32(sizeof(h)),
	};
	memcpy(buf, &h, sizeof(h));
	memcpy(buf + CLUSTER_SIZE, &be64, sizeof(be64));
	for (size_t i = 0; i < 4; i++)
		memcpy(buf + 2 * CLUSTER_SIZE + 2 * i, &one, sizeof(one));
	return 0;
}

int disk_create(int dir_fd, const char *name, uint64_t size,
		const char *backing, const char *backing_format, uid_t uid,
		struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, DISK_HEADER_SIZE);
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (disk_header(buf, size, backing, backing_format) < 0)
		return err_set(err, ERR_INVALID, "disk of %llu bytes on '%s'",
			       (unsigned long long)size, backing);
	fd = openat(dir_fd, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "create disk layer '%s'", name);
	r = fd_write_full(fd, buf, DISK_HEADER_SIZE);
	if (r == 0 && fchown(fd, uid, (gid_t)-1) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir_fd, name, 0);
		return err_sys(err, -r, "write disk layer '%s'", name);
	}
	return 0;
}

/* A descriptor for a layer, without opening it for anything: 0, -errno. */
static int open_path(int dir_fd, const char *name, struct stat *st)
{
	int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static bool is_sealed(const struct stat *st)
{
	return st->st_uid == geteuid() && !(st->st_mode & 0222);
}

/* Owner and mode change one after the other, both when a layer is sealed and
 * when it is given back: a crash may have come between.
 */
static bool may_be_half_sealed(const struct stat *st, uid_t uid)
{
	return st->st_uid == geteuid() || st->st_uid == uid;
}

/* The number in "disk.<n>.qcow2"; -1: it is another name. */
static int layer_number(const char *name)
{
	char again[32];
	unsigned int n;

	if (sscanf(name, "disk.%4u.qcow2", &n) != 1 || n > DISK_LAYERS_MAX)
		return -1;
	disk_layer_name(n, again, sizeof(again));
	return strcmp(again, name) == 0 ? (int)n : -1;
}

/* Layer @n below the active one, whose inode is @active: 1 it is (sealed now),
 * 0 there is none, -1.
 */
static int settle_below(int dir_fd, unsigned int n, const struct stat *active,
			uid_t uid, struct error *err)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	char name[32];

	disk_layer_name(n, name, sizeof(name));
	fd = open_path(dir_fd, name, &st);
	if (fd == -ENOENT || (fd >= 0 && st.st_ino == active->st_ino))
		return 0;
	if (fd < 0)
		return err_sys(err, -fd, "look at layer '%s'", name);
	if (is_sealed(&st))
		return 1;
	if (!may_be_half_sealed(&st, uid))
		return err_set(err, ERR_DATA_LOSS, "layer '%s' is foreign",
			       name);
	return disk_make_readonly(dir_fd, name, 0, 0444, err) < 0 ? -1 : 1;
}

/* Names of layers other than those in use. */
static void remove_above(int dir_fd, const char *active, unsigned int layers)
{
	char name[32];

	for (unsigned int n = layers; n <= DISK_LAYERS_MAX; n++) {
		disk_layer_name(n, name, sizeof(name));
		if (strcmp(name, active) != 0)
			unlinkat(dir_fd, name, 0);
	}
}

static int settle_active(int dir_fd, const char *active, uid_t uid,
			 struct error *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, active, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open disk layer '%s'", active);
	if (st.st_uid == uid && (st.st_mode & 0200))
		return 0;
	if (!may_be_half_sealed(&st, uid))
		return err_set(err, ERR_DATA_LOSS, "layer '%s' is foreign",
			       active);
	if (st.st_nlink > 1)
		return err_set(err, ERR_CONFLICT,
			       "disk layer '%s' is a snapshot's", active);
	if (fchown(fd, uid, (gid_t)-1) < 0 || fchmod(fd, 0600) < 0)
		return err_sys(err, errno, "give disk layer '%s' back", active);
	return 0;
}

int disk_settle(int dir_fd, const char *active, uid_t uid, unsigned int *ret,
		struct error *err)
{
	int number = layer_number(active), r = 1;
	unsigned int n = 0;
	struct stat st;
	int fd;

	if (number < 0 && strcmp(active, DISK_ACTIVE) != 0)
		return err_set(err, ERR_DATA_LOSS, "disk layer '%s' is foreign",
			       active);
	fd = open_path(dir_fd, active, &st);
	if (fd < 0)
		return err_sys(err, -fd, "look at disk layer '%s'", active);
	close(fd);
	while (r > 0 && n < DISK_LAYERS_MAX &&
	       (number < 0 || n < (unsigned int)number)) {
		r = settle_below(dir_fd, n, &st, uid, err);
		if (r > 0)
			n++;
	}
	if (r < 0)
		return -1;
	if (number >= 0 && n != (unsigned int)number)
		return err_set(err, ERR_DATA_LOSS, "disk layer %u is missing",
			       n);
	remove_above(dir_fd, active, n);
	*ret = n;
	return settle_active(dir_fd, active, uid, err);
}

/* By the open inode, so that what was looked at is what is linked. */
static int link_fd(int fd, int to_fd, const char *to_name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, to_fd, to_name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return 0;
}

int disk_link_layers(int from_fd, int to_fd, unsigned int count,
		     struct error *err)
{
	for (unsigned int n = 0; n < count; n++) {
		char name[32];
		_cleanup_close_ int fd = -EBADF;
		struct stat st;
		int r;

		disk_layer_name(n, name, sizeof(name));
		fd = open_path(from_fd, name, &st);
		if (fd < 0)
			return err_sys(err, -fd, "open layer '%s'", name);
		if (!is_sealed(&st))
			return err_set(err, ERR_DATA_LOSS,
				       "layer '%s' is not a sealed one", name);
		r = link_fd(fd, to_fd, name);
		if (r < 0)
			return err_sys(err, -r, "link layer '%s'", name);
	}
	return 0;
}

int disk_seal(int from_fd, const char *name, int to_fd, const char *to_name,
	      uid_t uid, struct error *err)
{
	_cleanup_close_ int fd = openat(from_fd, name,
					O_RDONLY | O_NONBLOCK | O_NOFOLLOW |
						O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return err_sys(err, errno, "open disk layer '%s'", name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != uid)
		return err_set(err, ERR_DATA_LOSS,
			       "disk layer '%s' is not the guest's own", name);
	if (fsync(fd) < 0)
		return err_sys(err, errno, "sync disk layer '%s'", name);
	r = link_fd(fd, to_fd, to_name);
	if (r < 0)
		return err_sys(err, -r, "link disk layer '%s'", to_name);
	return 0;
}

int disk_make_readonly(int dir_fd, const char *name, gid_t gid, mode_t mode,
		       struct error *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fchown(fd, geteuid(), gid) < 0 || fchmod(fd, mode) < 0 ||
	    fsync(fd) < 0)
		return err_sys(err, errno, "seal disk layer '%s'", name);
	return 0;
}

int disk_read_size(int dir_fd, const char *name, uint64_t *ret,
		   struct error *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct qcow2_header h;
	int r;

	if (fd < 0)
		return err_sys(err, errno, "open disk layer '%s'", name);
	r = fd_pread_full(fd, &h, sizeof(h), 0);
	if (r < 0)
		return err_sys(err, -r, "read disk layer '%s'", name);
	*ret = be64toh(h.size);
	if (be32toh(h.magic) != QCOW2_MAGIC || *ret == 0 ||
	    *ret > DISK_SIZE_MAX || *ret % 512)
		return err_set(err, ERR_DATA_LOSS, "'%s' is not a disk layer",
			       name);
	return 0;
}

static bool is_cluster(uint64_t at, uint64_t len, uint64_t file_size)
{
	return at >= CLUSTER_SIZE && at % CLUSTER_SIZE == 0 &&
	       at < file_size && len <= file_size - at;
}

/* What QEMU 7.2 and later write, and nothing that leads out of the file. */
static bool is_plain(const struct qcow2_header *h, uint64_t file_size)
{
	uint64_t size = be64toh(h->size);
	uint64_t l1_size = be32toh(h->l1_size);
	uint64_t tables = be32toh(h->refcount_clusters);

	return be32toh(h->magic) == QCOW2_MAGIC && be32toh(h->version) == 3 &&
	       be32toh(h->cluster_bits) == 16 && h->crypt_method == 0 &&
	       h->n_snapshots == 0 && h->incompatible == 0 &&
	       be32toh(h->refcount_order) == 4 && size > 0 &&
	       size % 512 == 0 && size <= DISK_SIZE_MAX &&
	       l1_size >= (size + L1_COVERS - 1) / L1_COVERS &&
	       l1_size <= DISK_SIZE_MAX / L1_COVERS && tables > 0 &&
	       tables <= 64 &&
	       is_cluster(be64toh(h->l1_offset), l1_size * 8, file_size) &&
	       is_cluster(be64toh(h->refcount_offset), tables * CLUSTER_SIZE,
			  file_size);
}

int disk_adopt(int dir_fd, const char *name, const char *backing,
	       const char *backing_format, uint64_t *ret_size,
	       struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, DISK_HEADER_SIZE);
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct qcow2_header old, *fresh = (struct qcow2_header *)buf;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open disk layer '%s'", name);
	r = fd_pread_full(fd, &old, sizeof(old), 0);
	if (r < 0 && r != -ENODATA)
		return err_sys(err, -r, "read disk layer '%s'", name);
	if (r < 0 || !is_plain(&old, (uint64_t)st.st_size))
		return err_set(err, ERR_DATA_LOSS, "'%s' is not a disk layer",
			       name);
	*ret_size = be64toh(old.size);
	if (disk_header(buf, *ret_size, backing, backing_format) < 0)
		return err_set(err, ERR_INVALID, "disk layer on '%s'", backing);
	fresh->l1_offset = old.l1_offset;
	fresh->l1_size = old.l1_size;
	fresh->refcount_offset = old.refcount_offset;
	fresh->refcount_clusters = old.refcount_clusters;
	r = fd_pwrite_full(fd, buf, CLUSTER_SIZE, 0);
	return r < 0 ? err_sys(err, -r, "write disk layer '%s'", name) : 0;
}

/* Data only; holes stay holes. */
static int copy_sparse(int from, int to)
{
	off_t at = 0, end;

	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		off_t out = at;

		end = lseek(from, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		while (at < end) {
			ssize_t n = copy_file_range(from, &at, to, &out,
						    (size_t)(end - at), 0);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n < 0 ? -errno : -EIO;
		}
	}
	if (errno != ENXIO)
		return -errno;
	end = lseek(from, 0, SEEK_END);
	return end < 0 || ftruncate(to, end) < 0 ? -errno : 0;
}

static int copy_layer(int dir_fd, const char *name, const char *out, uid_t uid,
		      struct error *err)
{
	_cleanup_close_ int from =
		openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int to = -EBADF;
	int r;

	if (from < 0)
		return err_sys(err, errno, "open layer '%s'", name);
	to = openat(dir_fd, out,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, errno, "create layer '%s'", out);
	r = copy_sparse(from, to);
	if (r == 0 && fchown(to, uid, (gid_t)-1) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, -r, "copy layer '%s'", name) : 0;
}

int disk_merge(const char *qemu_img, const char *dir, const char *name,
	       const char *out, const char *base, const char *base_format,
	       uid_t uid, gid_t gid, const _Atomic bool *cancel,
	       struct error *err)
{
	_cleanup_close_ int dir_fd =
		open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, out);
	const char *const argv[] = { qemu_img, "rebase", "-q",	      "-f",
				     "qcow2",  "-F",	 base_format, "-b",
				     base,     path,	 NULL };
	struct child_spec child = { .argv = argv,
				    .uid = uid,
				    .gid = gid,
				    .timeout_ms = MERGE_TIMEOUT_MS,
				    .cancel = cancel };
	int rc;

	if (dir_fd < 0)
		return err_sys(err, errno, "open '%s'", dir);
	rc = copy_layer(dir_fd, name, out, uid, err);
	if (rc == 0)
		rc = child_run(&child, err);
	if (rc < 0) {
		unlinkat(dir_fd, out, 0);
		return err_wrap(err, "merge disk layers below '%s'", name);
	}
	return 0;
}
