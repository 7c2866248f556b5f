/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c - changing the guest itself: clock, entropy, names, its root
 *
 * Theory of operation
 *
 * The files that name this guest lie on a tmpfs of ours and are mounted over
 * the image's: a clone gets its own without a write to a root that may be
 * frozen, and a snapshot's disk has nobody's name on it. A file is written in
 * place, so a mount made before shows it. If the image has no such file, an
 * empty one is made to mount on.
 */
#include "machine.h"

#include "file_path.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include <linux/fs.h>
#include <linux/random.h>

#define OWN_DIR	  "/run/sandbox"
#define HOSTS_MAX (1u << 20)
#define MARK	  "# this sandbox"

/* ext4's, in no public header. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#define EXT4_SB_AT	   1024
#define EXT4_SB_SIZE	   1024
#define EXT4_MAGIC	   0xef53
#define NS_PER_S	   1000000000ull

static const struct {
	const char *path;
	const char *own;
} files[] = {
	[MACHINE_RESOLV_CONF] = { "/etc/resolv.conf", OWN_DIR "/resolv.conf" },
	[MACHINE_HOSTS] = { "/etc/hosts", OWN_DIR "/hosts" },
	[MACHINE_HOSTNAME] = { "/etc/hostname", OWN_DIR "/hostname" },
	[MACHINE_MACHINE_ID] = { "/etc/machine-id", OWN_DIR "/machine-id" },
};
_Static_assert(sizeof(files) / sizeof(files[0]) == MACHINE_FILE_COUNT,
	       "one row a file");

static uint32_t le16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le32(const uint8_t *p)
{
	return le16(p) | le16(p + 2) << 16;
}

uint64_t machine_monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

int machine_set_clock(int64_t seconds, uint32_t nanos, uint64_t at_ns,
		      struct error *err)
{
	uint64_t now_ns = machine_monotonic_ns();
	uint64_t ns = nanos;
	struct timespec ts;

	/* A reading from the future is none of ours. */
	if (at_ns && at_ns < now_ns)
		ns += now_ns - at_ns;
	ts.tv_sec = seconds + (time_t)(ns / NS_PER_S);
	ts.tv_nsec = (long)(ns % NS_PER_S);
	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_sys(err, errno, "set the clock");
	return 0;
}

int machine_add_entropy(const uint8_t *data, size_t len, struct error *err)
{
	_cleanup_close_ int fd = open("/dev/random", O_RDWR | O_CLOEXEC);
	_cleanup_free_ struct rand_pool_info *info =
		xcalloc(1, sizeof(*info) + len);

	info->entropy_count = (int)len * 8;
	info->buf_size = (int)len;
	memcpy(info->buf, data, len);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, info) < 0 ||
	    ioctl(fd, RNDRESEEDCRNG) < 0)
		return err_sys(err, errno, "add entropy");
	return 0;
}

int machine_set_hostname(const char *name, struct error *err)
{
	if (sethostname(name, strlen(name)) < 0)
		return err_sys(err, errno, "set the host name");
	return 0;
}

/* Whether a line of /etc/hosts is one that we put there. */
static bool is_ours(const char *line, size_t len)
{
	size_t mark = strlen(MARK);

	return len >= mark && !memcmp(line + len - mark, MARK, mark);
}

char *machine_hosts(const char *old, const char *hostname, const char *address)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		abort();
	fprintf(f, "127.0.0.1 localhost\t" MARK "\n"
		   "::1 localhost ip6-localhost ip6-loopback\t" MARK "\n");
	if (!str_empty(hostname))
		fprintf(f, "%s %s\t" MARK "\n", address ? address : "127.0.1.1",
			hostname);
	while (*old) {
		size_t len = strcspn(old, "\n");

		if (!is_ours(old, len))
			fprintf(f, "%.*s\n", (int)len, old);
		old += len + (old[len] == '\n');
	}
	if (fclose(f) != 0)
		abort();
	return text;
}

static char *make_resolv_conf(const Sandbox__Agent__V1__NetworkConfig *net)
{
	char *text = xstrdup("# from this sandbox's network\n");

	for (size_t i = 0; i < net->n_dns_servers; i++) {
		char *longer = xasprintf("%snameserver %s\n", text,
					 net->dns_servers[i]);

		free(text);
		text = longer;
	}
	return text;
}

void machine_root_prepare(struct machine_root *root,
			  const Sandbox__Agent__V1__ConfigureRequest *msg,
			  uint32_t address, bool is_init)
{
	char text[INET_ADDRSTRLEN];

	*root = (struct machine_root){
		.is_init = is_init,
		.grow = is_init && msg->grow_root,
		.hostname = xstrdup(msg->hostname),
	};
	if (address && inet_ntop(AF_INET, &address, text, sizeof(text)))
		root->address = xstrdup(text);
	if (msg->network)
		root->text[MACHINE_RESOLV_CONF] =
			make_resolv_conf(msg->network);
	if (!str_empty(msg->hostname))
		root->text[MACHINE_HOSTNAME] = xasprintf("%s\n", msg->hostname);
	if (!str_empty(msg->machine_id))
		root->text[MACHINE_MACHINE_ID] =
			xasprintf("%s\n", msg->machine_id);
}

void machine_root_fini(struct machine_root *root)
{
	free(root->hostname);
	free(root->address);
	for (int i = 0; i < MACHINE_FILE_COUNT; i++)
		free(root->text[i]);
	*root = (struct machine_root){ 0 };
}

static void failed(struct machine_root *root, const struct error *err)
{
	if (root->n_failed < sizeof(root->failed) / sizeof(root->failed[0]))
		root->failed[root->n_failed++] = *err;
}

/* Whether our file is what is seen at its path. */
static bool is_mounted(enum machine_file i)
{
	struct stat own, seen;

	return stat(files[i].own, &own) == 0 &&
	       stat(files[i].path, &seen) == 0 && own.st_dev == seen.st_dev &&
	       own.st_ino == seen.st_ino;
}

static int write_own(enum machine_file i, const char *text, struct error *err)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (mkdir(OWN_DIR, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make '" OWN_DIR "'");
	fd = open(files[i].own,
		  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(err, errno, "write '%s'", files[i].own);
	r = fd_write_full(fd, text, strlen(text));
	return r < 0 ? err_sys(err, -r, "write '%s'", files[i].own) : 0;
}

static int mount_over(enum machine_file i, struct error *err)
{
	const char *path = files[i].path;
	_cleanup_close_ int fd = -EBADF;

	if (is_mounted(i))
		return 0;
	if (mount(files[i].own, path, NULL, MS_BIND, NULL) == 0)
		return 0;
	if (errno == ENOENT) {
		/* Also where a link of the image's leads to. */
		file_make_parents_of_target(path);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK,
			  0644);
		if (fd >= 0 &&
		    mount(files[i].own, path, NULL, MS_BIND, NULL) == 0)
			return 0;
	}
	return err_sys(err, errno, "put '%s' in place", path);
}

static void make_hosts(struct machine_root *root)
{
	_cleanup_free_ char *old = NULL;

	if (fd_read_file(AT_FDCWD, files[MACHINE_HOSTS].path, HOSTS_MAX, &old,
			 NULL) < 0)
		old = xstrdup("");
	free(root->text[MACHINE_HOSTS]);
	root->text[MACHINE_HOSTS] =
		machine_hosts(old, root->hostname, root->address);
}

void machine_root_refresh(struct machine_root *root)
{
	struct error err;

	if (!root->is_init)
		return;
	if (is_mounted(MACHINE_HOSTS))
		make_hosts(root);
	for (int i = 0; i < MACHINE_FILE_COUNT; i++)
		if (root->text[i] && is_mounted(i) &&
		    write_own(i, root->text[i], &err) < 0)
			failed(root, &err);
}

/* In blocks, as its superblock has it; 0: that cannot be told. Growing to the
 * size it has would write all copies of the superblock.
 */
static uint64_t size_of_ext4(int disk)
{
	uint8_t sb[EXT4_SB_SIZE];

	if (fd_pread_full(disk, sb, sizeof(sb), EXT4_SB_AT) < 0 ||
	    le16(sb + 0x38) != EXT4_MAGIC)
		return 0;
	return le32(sb + 0x4) | (uint64_t)le32(sb + 0x150) << 32;
}

int machine_grow_root(struct error *err)
{
	_cleanup_close_ int root =
		open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int disk = -EBADF;
	_cleanup_free_ char *path = NULL;
	uint64_t bytes, blocks;
	struct stat st;

	if (root < 0 || fstat(root, &st) < 0)
		return err_sys(err, errno, "open the root");
	path = xasprintf("/dev/.sandbox-root-%u-%u", major(st.st_dev),
			 minor(st.st_dev));
	/* A node of our own: the image may call the disk as it likes. */
	if (mknod(path, S_IFBLK | 0600, st.st_dev) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make a node for the root's disk");
	disk = open(path, O_RDONLY | O_CLOEXEC);
	unlink(path);
	if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0)
		return err_sys(err, errno, "ask the size of the root's disk");
	blocks = bytes / (uint64_t)st.st_blksize;
	if (size_of_ext4(disk) != blocks &&
	    ioctl(root, EXT4_IOC_RESIZE_FS, &blocks) < 0)
		return err_sys(err, errno, "grow the root file system");
	return 0;
}

void machine_root_apply(struct machine_root *root)
{
	struct error err;

	root->n_failed = 0;
	if (root->is_init) {
		make_hosts(root);
		for (int i = 0; i < MACHINE_FILE_COUNT; i++)
			if (root->text[i] &&
			    (write_own(i, root->text[i], &err) < 0 ||
			     mount_over(i, &err) < 0))
				failed(root, &err);
		if (root->grow && machine_grow_root(&err) < 0)
			failed(root, &err);
	}
	if (root->workdir[0] &&
	    file_make_directories(root->workdir, 0755, NULL, &err) < 0)
		failed(root, &err);
}
