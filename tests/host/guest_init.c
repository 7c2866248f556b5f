/* SPDX-License-Identifier: Apache-2.0 */
/* guest_init.c - the only program of the guests that hv_*.sh boot
 *
 * Loads /modules/NN-*.ko in order, keeps a counter that goes up ten times a
 * second, and answers lines "#TAG COMMAND" on the virtio-serial port "agent"
 * with "#TAG ANSWER":
 *
 *	tick		the counter
 *	fill N SEED	write N MiB with bytes that follow from SEED; their sum
 *	zero		those bytes all to zero
 *	sum		sum of the bytes again
 *	put OFFSET TEXT	write TEXT into /dev/vda at OFFSET, synced
 *	get OFFSET	what is there, up to a NUL
 *	size		of /dev/vda in bytes
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#define FILL_MAX (1024u << 20)

static uint8_t *memory;
static size_t memory_len;
static unsigned long ticks;

static void load_modules(void)
{
	struct dirent **names;
	int n = scandir("/modules", &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char path[300];
		int fd;

		snprintf(path, sizeof(path), "/modules/%s", names[i]->d_name);
		fd = open(path, O_RDONLY);
		if (names[i]->d_name[0] != '.' &&
		    syscall(SYS_finit_module, fd, "", 0) < 0)
			printf("%s: %s\n", path, strerror(errno));
		close(fd);
	}
}

/* /dev/vportNpM whose name is "agent". */
static int find_port(void)
{
	static const char dir[] = "/sys/class/virtio-ports";
	struct dirent **names;
	int n = scandir(dir, &names, NULL, alphasort), found = -1;

	for (int i = 0; i < n && found < 0; i++) {
		char path[400], name[32] = "";
		int fd;

		snprintf(path, sizeof(path), "%s/%s/name", dir,
			 names[i]->d_name);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (read(fd, name, sizeof(name) - 1) > 0 &&
		    strncmp(name, "agent", 5) == 0) {
			snprintf(path, sizeof(path), "/dev/%s",
				 names[i]->d_name);
			found = open(path, O_RDWR);
		}
		close(fd);
	}
	return found;
}

static int open_port(void)
{
	int fd = -1;

	for (int tries = 0; fd < 0 && tries < 500; tries++) {
		fd = find_port();
		if (fd < 0)
			usleep(10000);
	}
	return fd;
}

static uint64_t sum(void)
{
	uint64_t s = 14695981039346656037u;

	for (size_t i = 0; i < memory_len; i += 8) {
		uint64_t v;

		memcpy(&v, memory + i, sizeof(v));
		s = (s ^ v) * 1099511628211u;
	}
	return s;
}

static void fill(size_t mib, uint64_t seed)
{
	free(memory);
	memory_len = mib << 20;
	memory = memory_len <= FILL_MAX ? malloc(memory_len) : NULL;
	if (!memory) {
		memory_len = 0;
		return;
	}
	for (size_t i = 0; i < memory_len; i += 8) {
		/* Half of each page repeats: something to compress. */
		if (i % 4096 < 2048)
			seed = seed * 6364136223846793005u +
			       1442695040888963407u;
		memcpy(memory + i, &seed, sizeof(seed));
	}
}

static void answer(char *line, char *out, size_t size)
{
	static char disk[512];
	unsigned long long a = 0, b = 0;
	char text[200] = "";
	int fd = -1;

	snprintf(out, size, "?\n");
	if (!strcmp(line, "tick")) {
		snprintf(out, size, "%lu\n", ticks);
	} else if (sscanf(line, "fill %llu %llu", &a, &b) == 2) {
		fill((size_t)a, b);
		snprintf(out, size, "%016llx\n", (unsigned long long)sum());
	} else if (!strcmp(line, "zero")) {
		memset(memory, 0, memory_len);
		snprintf(out, size, "%016llx\n", (unsigned long long)sum());
	} else if (!strcmp(line, "sum")) {
		snprintf(out, size, "%016llx\n", (unsigned long long)sum());
	} else if (sscanf(line, "put %llu %199[^\n]", &a, text) == 2) {
		memset(disk, 0, sizeof(disk));
		memcpy(disk, text, sizeof(text));
		fd = open("/dev/vda", O_WRONLY | O_SYNC);
		if (pwrite(fd, disk, sizeof(disk), (off_t)a) == sizeof(disk))
			snprintf(out, size, "ok\n");
	} else if (sscanf(line, "get %llu", &a) == 1) {
		fd = open("/dev/vda", O_RDONLY);
		ioctl(fd, BLKFLSBUF, 0);
		if (pread(fd, disk, sizeof(disk), (off_t)a) == sizeof(disk))
			snprintf(out, size, "%.200s\n", disk);
	} else if (!strcmp(line, "size")) {
		uint64_t bytes = 0;

		fd = open("/dev/vda", O_RDONLY);
		ioctl(fd, BLKGETSIZE64, &bytes);
		snprintf(out, size, "%llu\n", (unsigned long long)bytes);
	}
	if (fd >= 0)
		close(fd);
}

static void serve(int fd)
{
	char line[512], out[512], reply[1100], *command;
	size_t len = 0;
	struct timespec next;

	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct timespec now;
		char c;

		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > next.tv_sec || (now.tv_sec == next.tv_sec &&
						 now.tv_nsec >= next.tv_nsec)) {
			ticks++;
			next = now;
			next.tv_nsec += 100000000;
			if (next.tv_nsec >= 1000000000) {
				next.tv_nsec -= 1000000000;
				next.tv_sec++;
			}
		}
		poll(&p, 1, 20);
		if (p.revents & POLLHUP) {
			len = 0;
			usleep(20000);
		}
		if (!(p.revents & POLLIN) || read(fd, &c, 1) != 1)
			continue;
		if (c != '\n') {
			if (len < sizeof(line) - 1)
				line[len++] = c;
			continue;
		}
		line[len] = '\0';
		len = 0;
		command = strchr(line, ' ');
		if (line[0] != '#' || !command)
			continue;
		*command++ = '\0';
		answer(command, out, sizeof(out));
		snprintf(reply, sizeof(reply), "%s %s", line, out);
		if (write(fd, reply, strlen(reply)) < 0)
			printf("write: %s\n", strerror(errno));
	}
}

int main(void)
{
	int fd;

	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 1);
		dup2(fd, 2);
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	load_modules();
	fd = open_port();
	printf("guest ready, port %d\n", fd);
	serve(fd);
	return 0;
}
