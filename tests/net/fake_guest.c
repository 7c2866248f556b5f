/* SPDX-License-Identifier: Apache-2.0 */
/* fake_guest.c - a network namespace in a guest's place
 *
 * fake_guest TAP NETNS: opens the tap as QEMU would, makes a tap "eth0" in the
 * other namespace (a path such as /run/netns/g0), and passes frames from one to
 * the other, offloads included, until it is killed. Prints "ok" when ready.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FRAME_MAX 66000

static int open_tap(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) <
		    0) {
		perror(name);
		return -1;
	}
	return fd;
}

static void pass(int from, int to)
{
	static char frame[FRAME_MAX];

	for (int i = 0; i < 64; i++) {
		ssize_t n = read(from, frame, sizeof(frame));

		if (n <= 0)
			return;
		(void)!write(to, frame, (size_t)n);
	}
}

int main(int argc, char **argv)
{
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	int ns;

	if (argc != 3)
		return 2;
	p[0].fd = open_tap(argv[1]);
	ns = open(argv[2], O_RDONLY);
	if (p[0].fd < 0 || ns < 0 || setns(ns, CLONE_NEWNET) < 0) {
		perror(argv[2]);
		return 1;
	}
	p[1].fd = open_tap("eth0");
	if (p[1].fd < 0)
		return 1;
	puts("ok");
	fflush(stdout);
	while (poll(p, 2, -1) >= 0) {
		pass(p[0].fd, p[1].fd);
		pass(p[1].fd, p[0].fd);
	}
	return 1;
}
