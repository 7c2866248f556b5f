/* SPDX-License-Identifier: Apache-2.0 */
/* peer_init.c - PID 1 of the guest that libvirt alone saves and restores
 *
 * The peer of pause and resume: the same kernel, machine and memory as a
 * sandbox, bench.mib=N MiB of random data written, and a sign of life on the
 * console every 10 ms. Needs no module: the console is a serial port.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static size_t wanted_mib(void)
{
	char line[4096] = "";
	const char *p;
	int fd;

	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	fd = open("/proc/cmdline", O_RDONLY);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		return 0;
	close(fd);
	p = strstr(line, "bench.mib=");
	return p ? strtoul(p + 10, NULL, 10) : 0;
}

int main(void)
{
	const struct timespec tick = { .tv_nsec = 10000000 };
	size_t size, at;
	char *data;
	int console;

	mkdir("/dev", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	console = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
	size = wanted_mib() << 20;
	if (size > 0) {
		data = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (at = 0; at < size; at += 256)
			while (getrandom(data + at, 256, 0) != 256)
				continue;
	}
	for (unsigned long n = 0;; n++) {
		dprintf(console, "tick %lu\n", n);
		nanosleep(&tick, NULL);
	}
}
