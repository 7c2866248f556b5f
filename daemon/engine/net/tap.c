/* SPDX-License-Identifier: Apache-2.0 */
/* tap.c - tap devices that guests' virtio-net is plugged into
 *
 * IPv6 is switched off before the device is ever up, so that there is no moment
 * at which it has a link-local address for a guest to speak to.
 */
#include "engine/net/tap.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int tap_sysctl(int family, const char *name, const char *key, const char *value)
{
	char path[128];
	_cleanup_close_ int fd = -EBADF;
	size_t len = strlen(value);

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s",
		 family == AF_INET6 ? "ipv6" : "ipv4", name, key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, value, len) == (ssize_t)len ? 0 : -errno;
}

/* ENOENT: a kernel without IPv6, which is as good. */
static int refuse_ipv6(const char *name, struct error *err)
{
	int r = tap_sysctl(AF_INET6, name, "disable_ipv6", "1");

	return r < 0 && r != -ENOENT
		       ? err_sys(err, -r, "switch off IPv6 on '%s'", name)
		       : 0;
}

/* A descriptor; -EBUSY when someone has it open; or -1. */
static int attach(const char *name, struct error *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	_cleanup_close_ int fd = -EBADF;

	if (strncmp(name, TAP_PREFIX, strlen(TAP_PREFIX)) ||
	    str_copy(ifr.ifr_name, sizeof(ifr.ifr_name), name) < 0)
		return err_set(err, ERR_INTERNAL, "'%s' is no tap's name",
			       name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, errno, "open '/dev/net/tun'");
	if (ioctl(fd, TUNSETIFF, &ifr) == 0)
		return TAKE_FD(fd);
	if (errno == EBUSY)
		return -EBUSY;
	return err_sys(err, errno, "create tap '%s'", name);
}

int tap_create(const char *name, uint32_t owner, struct error *err)
{
	bool there = if_nametoindex(name) != 0;
	_cleanup_close_ int fd = -EBADF;

	fd = attach(name, err);
	/* Its QEMU has it open: then it was set up, and has its owner. */
	if (fd == -EBUSY)
		return 0;
	if (fd < 0)
		return -1;
	/* Until TUNSETPERSIST the device goes away with fd, so every return
	 * before it leaves nothing behind.
	 */
	if (!there && refuse_ipv6(name, err) < 0)
		return -1;
	if (ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0)
		return err_sys(err, errno, "give tap '%s' to uid %u", name,
			       owner);
	if (ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return err_sys(err, errno, "persist tap '%s'", name);
	return 0;
}

void tap_name(char ret[IFNAMSIZ], uint32_t number)
{
	snprintf(ret, IFNAMSIZ, TAP_PREFIX "%u", number);
}

bool tap_number(const char *name, uint32_t max, uint32_t *ret)
{
	size_t prefix = strlen(TAP_PREFIX);
	uint64_t number;

	if (strncmp(name, TAP_PREFIX, prefix) ||
	    str_parse_u64(name + prefix, max, &number) < 0 ||
	    (name[prefix] == '0' && name[prefix + 1]))
		return false;
	*ret = (uint32_t)number;
	return true;
}
