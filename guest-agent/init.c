/* SPDX-License-Identifier: Apache-2.0 */
/* init.c - PID 1 of a guest: from the initramfs to the image's root
 *
 * Theory of operation
 *
 * We are /init of an initramfs that holds us, modules and their order. The
 * image knows nothing of us: its disk is mounted, the kernel's file systems are
 * moved or mounted on it, and it becomes the root. We stay, as a binary that is
 * on no file system any more. What the initramfs held is freed.
 *
 * Anything missing is logged and gone on without: a guest that half works can
 * be asked what is wrong, one that panics cannot.
 */
#include "init.h"

#include "agent.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NEW_ROOT     "/newroot"
#define ROOT_DEFAULT "/dev/vda"
#define DISK_WAIT_MS 10000
#define DISK_POLL_MS 2
#define CMDLINE_MAX  65536u

struct mount_row {
	const char *what;
	const char *where;
	const char *type;
	unsigned long flags;
	const char *options;
};

/* clang-format off */
static const struct mount_row early[] = {
	{ "proc",     "/proc", "proc",	   MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL },
	{ "sysfs",    "/sys",  "sysfs",	   MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL },
	{ "devtmpfs", "/dev",  "devtmpfs", MS_NOSUID, "mode=0755" },
};

static const struct mount_row late[] = {
	{ "devpts", "/dev/pts",	"devpts", MS_NOSUID | MS_NOEXEC,
	  "mode=0620,gid=5,ptmxmode=0666" },
	{ "tmpfs",  "/dev/shm",	"tmpfs",  MS_NOSUID | MS_NODEV, "mode=1777" },
	{ "mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV,
	  NULL },
	{ "tmpfs",  "/run",	"tmpfs",  MS_NOSUID | MS_NODEV, "mode=0755" },
	{ "cgroup2", "/sys/fs/cgroup", "cgroup2",
	  MS_NOSUID | MS_NOEXEC | MS_NODEV, "nsdelegate" },
};

static const struct { const char *to, *at; } dev_links[] = {
	{ "/proc/self/fd",   "/dev/fd" },
	{ "/proc/self/fd/0", "/dev/stdin" },
	{ "/proc/self/fd/1", "/dev/stdout" },
	{ "/proc/self/fd/2", "/dev/stderr" },
};

static const struct { const char *path, *value; } settings[] = {
	/* Anyone may ping. */
	{ "/proc/sys/net/ipv4/ping_group_range", "0 2147483647" },
	/* Large builds and editors watch many files. */
	{ "/proc/sys/fs/inotify/max_user_watches", "524288" },
	{ "/proc/sys/fs/inotify/max_user_instances", "1024" },
	/* Nothing moves pages in the background: where they lay stays as it was,
	 * and would be in every snapshot, twice. (24 days.)
	 */
	{ "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs",
	  "2147483647" },
	{ "/proc/sys/vm/compaction_proactiveness", "0" },
};
/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void do_mount(const struct mount_row *m)
{
	if (mkdir(m->where, 0755) < 0 && errno != EEXIST)
		agent_log("make %s: %s", m->where, strerror(errno));
	if (mount(m->what, m->where, m->type, m->flags, m->options) < 0 &&
	    errno != EBUSY)
		agent_log("mount %s: %s", m->where, strerror(errno));
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	for (int i = 0; i <= STDERR_FILENO && fd >= 0; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* ---- modules ---- */

/* ENODEV: for hardware that is not there. */
static void load_module(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 &&
		       errno != EEXIST && errno != ENODEV))
		agent_log("load %s: %s", path, strerror(errno));
}

static void load_modules(void)
{
	_cleanup_fclose_ FILE *list = fopen("/modules.load", "re");
	char line[512];

	while (list && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#')
			load_module(line);
	}
}

void init_early(void)
{
	for (size_t i = 0; i < COUNT(early); i++)
		do_mount(&early[i]);
	open_console();
	load_modules();
}

/* ---- the root ---- */

int init_kernel_option(const char *cmdline, const char *name, char *dst,
		       size_t size)
{
	size_t len = strlen(name);

	while (*cmdline) {
		size_t word;

		cmdline += strspn(cmdline, " \n");
		word = strcspn(cmdline, " \n");
		if (word > len && !strncmp(cmdline, name, len) &&
		    cmdline[len] == '=' && word - len - 1 < size) {
			memcpy(dst, cmdline + len + 1, word - len - 1);
			dst[word - len - 1] = '\0';
			return 1;
		}
		cmdline += word;
	}
	return 0;
}

static void nap(long ms)
{
	struct timespec ts = { .tv_nsec = ms * 1000000 };

	nanosleep(&ts, NULL);
}

static int wait_for_disk(const char *path, struct error *err)
{
	struct stat st;

	for (int waited = 0; waited < DISK_WAIT_MS; waited += DISK_POLL_MS) {
		if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
			return 0;
		nap(DISK_POLL_MS);
	}
	return err_set(err, ERR_NOT_FOUND, "no disk '%s' after %d ms", path,
		       DISK_WAIT_MS);
}

static int carry_over(const char *from, struct error *err)
{
	_cleanup_free_ char *to = xasprintf(NEW_ROOT "%s", from);

	if (mkdir(to, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make '%s' in the image", from);
	if (mount(from, to, NULL, MS_MOVE, NULL) < 0)
		return err_sys(err, errno, "move '%s'", from);
	return 0;
}

/* Free what the initramfs holds. Never leaves its file system. */
static void empty_initramfs(int fd, dev_t dev, int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *de;

	while (dir && (de = readdir(dir))) {
		struct stat st;
		int sub;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") ||
		    fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) <
			    0 ||
		    st.st_dev != dev)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			unlinkat(dirfd(dir), de->d_name, 0);
			continue;
		}
		sub = openat(dirfd(dir), de->d_name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0 && depth < 16)
			empty_initramfs(sub, dev, depth + 1);
		unlinkat(dirfd(dir), de->d_name, AT_REMOVEDIR);
	}
	if (dir)
		closedir(dir);
	else
		close(fd);
}

static int switch_root(struct error *err)
{
	struct stat old, new;
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || chdir(NEW_ROOT) < 0 ||
	    mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0) {
		if (fd >= 0)
			close(fd);
		return err_sys(err, errno, "make the image the root");
	}
	if (fstat(fd, &old) == 0 && stat("/", &new) == 0 &&
	    old.st_dev != new.st_dev)
		empty_initramfs(fd, old.st_dev, 0);
	else
		close(fd);
	return 0;
}

static void finish_root(void)
{
	for (size_t i = 0; i < COUNT(late); i++)
		do_mount(&late[i]);
	for (size_t i = 0; i < COUNT(dev_links); i++)
		if (symlink(dev_links[i].to, dev_links[i].at) < 0 &&
		    errno != EEXIST)
			agent_log("link %s: %s", dev_links[i].at,
				  strerror(errno));
	if (mkdir("/tmp", 01777) == 0)
		chmod("/tmp", 01777);
	mkdir("/run/lock", 01777);
	for (size_t i = 0; i < COUNT(settings); i++) {
		_cleanup_close_ int fd =
			open(settings[i].path, O_WRONLY | O_CLOEXEC);

		if (fd >= 0 &&
		    write(fd, settings[i].value, strlen(settings[i].value)) < 0)
			agent_log("set %s: %s", settings[i].path,
				  strerror(errno));
	}
}

int init_root(struct error *err)
{
	_cleanup_free_ char *cmdline = NULL;
	char disk[256] = ROOT_DEFAULT;

	if (fd_read_file(AT_FDCWD, "/proc/cmdline", CMDLINE_MAX, &cmdline,
			 NULL) == 0)
		init_kernel_option(cmdline, "sandbox.root", disk, sizeof(disk));
	if (wait_for_disk(disk, err) < 0)
		return -1;
	if (mkdir(NEW_ROOT, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make '" NEW_ROOT "'");
	if (mount(disk, NEW_ROOT, "ext4", 0, NULL) < 0)
		return err_sys(err, errno, "mount '%s'", disk);
	if (carry_over("/dev", err) < 0 || carry_over("/proc", err) < 0 ||
	    carry_over("/sys", err) < 0 || switch_root(err) < 0)
		return -1;
	finish_root();
	return 0;
}
