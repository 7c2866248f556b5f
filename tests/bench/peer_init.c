/* SPDX-License-Identifier: Apache-2.0 */
/* peer_init.c - PID 1 of the guest that libvirt alone starts, saves and restores
 *
 * The peer of a sandbox: the same kernel, modules, machine, memory and image,
 * with what others use to get into a guest: sshd and qemu-ga. It lies in an
 * initramfs over that of our own guests (so /modules.load is there), beside
 * /bench, which is copied to /run/bench of the image; /run/bench/start does the
 * rest in there. A sign of life goes to the console every 10 ms.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROOT "/new"

static void load_modules(void)
{
	FILE *list = fopen("/modules.load", "r");
	char path[256];

	while (list && fgets(path, sizeof(path), list)) {
		int fd;

		path[strcspn(path, "\n")] = '\0';
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			syscall(SYS_finit_module, fd, "", 0);
			close(fd);
		}
	}
	if (list)
		fclose(list);
}

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out;
	char buf[65536];
	ssize_t n;

	out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	while (in >= 0 && out >= 0 && (n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			break;
	close(in);
	close(out);
}

static void copy_bench(void)
{
	DIR *d = opendir("/bench");
	struct dirent *entry;
	char from[512], to[512];

	mkdir(ROOT "/run/bench", 0700);
	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(from, sizeof(from), "/bench/%s", entry->d_name);
		snprintf(to, sizeof(to), ROOT "/run/bench/%s", entry->d_name);
		copy(from, to);
	}
	if (d)
		closedir(d);
}

static int mount_root(void)
{
	const struct timespec pause = { .tv_nsec = 5000000 };

	mkdir(ROOT, 0755);
	for (int i = 0; i < 2000; i++) {
		if (mount("/dev/vda", ROOT, "ext4", MS_NOATIME, NULL) == 0) {
			mount("/dev", ROOT "/dev", NULL, MS_MOVE, NULL);
			mount("proc", ROOT "/proc", "proc", 0, NULL);
			mount("sys", ROOT "/sys", "sysfs", 0, NULL);
			mount("run", ROOT "/run", "tmpfs", 0, NULL);
			mount("tmp", ROOT "/tmp", "tmpfs", 0, NULL);
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	return -1;
}

int main(void)
{
	const struct timespec tick = { .tv_nsec = 10000000 };
	int console;

	mkdir("/dev", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	console = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
	load_modules();
	if (mount_root() < 0) {
		dprintf(console, "no root\n");
		return 1;
	}
	copy_bench();
	if (fork() == 0) {
		if (chroot(ROOT) == 0 && chdir("/") == 0) {
			mkdir("/dev/pts", 0755);
			mount("pts", "/dev/pts", "devpts", 0, NULL);
			dup2(console, 1);
			dup2(console, 2);
			setenv("PATH",
			       "/usr/local/sbin:/usr/local/bin:/usr/sbin:"
			       "/usr/bin:/sbin:/bin",
			       1);
			execl("/bin/sh", "sh", "/run/bench/start", NULL);
		}
		_exit(1);
	}
	for (unsigned long n = 0;; n++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		dprintf(console, "tick %lu\n", n);
		nanosleep(&tick, NULL);
	}
}
