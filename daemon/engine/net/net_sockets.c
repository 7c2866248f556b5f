/* SPDX-License-Identifier: Apache-2.0 */
/* net_sockets.c - the sockets that resolver and splice are handed */
#include "engine/net/net_sockets.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define DNS_PORT    53
#define TCP_BACKLOG 256
#define BUFFER	    (1 << 20)
#define WEB_BACKLOG 1024
/* The splice of a daemon that died closes its own as soon as it sees that. */
#define BIND_TRIES   200
#define BIND_WAIT_US 10000
/* Abstract: of the network namespace, and gone with the process. */
#define CLAIM_NAME   "\0sandboxd-network"
#define LOG_COPY     64
#define LOG_FLUSH_CS 5 /* hundredths of a second */

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

int net_socket_claim(struct error *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX,
				  .sun_path = CLAIM_NAME };
	socklen_t len =
		offsetof(struct sockaddr_un, sun_path) + sizeof(CLAIM_NAME) - 1;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(err, errno, "claim the network namespace");
	if (bind(fd, (struct sockaddr *)&at, len) == 0)
		return TAKE_FD(fd);
	if (errno != EADDRINUSE)
		return err_sys(err, errno, "claim the network namespace");
	return err_set(err, ERR_CONFLICT,
		       "another sandboxd runs in this network namespace: end "
		       "it, or start this one in a namespace of its own "
		       "(ip netns exec)");
}

int net_socket_dns(int type, uint32_t gateway, struct error *err)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(DNS_PORT),
				  .sin_addr.s_addr = htonl(gateway) };
	char text[INET_ADDRSTRLEN];
	_cleanup_close_ int fd =
		socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || set_int(fd, IPPROTO_IP, IP_FREEBIND, 1) < 0 ||
	    set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) < 0)
		return err_sys(err, errno, "open the guests' DNS socket");
	if (type == SOCK_STREAM)
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	else
		set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER);
	inet_ntop(AF_INET, &at.sin_addr, text, sizeof(text));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(
			err, errno,
			"serve DNS to guests on %s port %d (does another "
			"server listen on all addresses?)",
			text, DNS_PORT);
	if (type == SOCK_STREAM && listen(fd, TCP_BACKLOG) < 0)
		return err_sys(err, errno, "listen for guests' DNS");
	return TAKE_FD(fd);
}

int net_socket_splice(uint32_t gateway, uint16_t port, struct error *err)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(gateway) };
	_cleanup_close_ int fd =
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = -1;

	if (fd < 0 || set_int(fd, IPPROTO_IP, IP_FREEBIND, 1) < 0 ||
	    set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) < 0 ||
	    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0)
		return err_sys(err, errno, "open the splice's socket");
	for (int i = 0; r < 0 && i < BIND_TRIES; i++) {
		r = bind(fd, (struct sockaddr *)&at, sizeof(at));
		if (r == 0)
			r = listen(fd, WEB_BACKLOG);
		if (r < 0 && errno != EADDRINUSE)
			break;
		if (r < 0)
			usleep(BIND_WAIT_US);
	}
	if (r < 0)
		return err_sys(err, errno,
			       "listen for guests' connections on port %u",
			       port);
	return TAKE_FD(fd);
}

/* One setting of the log group, acknowledged: 0 or -errno. */
static int log_set(int fd, uint16_t group, int type, const void *data,
		   size_t len)
{
	struct {
		struct nlmsghdr nh;
		struct nfgenmsg nfg;
		struct nlattr nla;
		uint8_t data[16];
	} m = { .nh = { .nlmsg_len = (uint32_t)(sizeof(m.nh) + sizeof(m.nfg) +
						NLA_ALIGN(NLA_HDRLEN + len)),
			.nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.nfg = { .version = NFNETLINK_V0, .res_id = htons(group) },
		.nla = { .nla_type = (uint16_t)type,
			 .nla_len = (uint16_t)(NLA_HDRLEN + len) } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr nh;
		struct nlmsgerr e;
		uint8_t rest[256];
	} answer;
	ssize_t got;

	memcpy(m.data, data, len);
	if (sendto(fd, &m, m.nh.nlmsg_len, 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return -errno;
	/* The kernel has answered when sendto() returns. */
	got = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
	if (got < (ssize_t)(sizeof(answer.nh) + sizeof(answer.e)) ||
	    answer.nh.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.e.error;
}

int net_socket_log(uint16_t group, struct error *err)
{
	struct nfulnl_msg_config_cmd bind_cmd = { .command =
							  NFULNL_CFG_CMD_BIND };
	struct nfulnl_msg_config_mode mode = { .copy_range = htonl(LOG_COPY),
					       .copy_mode =
						       NFULNL_COPY_PACKET };
	uint32_t flush = htonl(LOG_FLUSH_CS);
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       NETLINK_NETFILTER);
	int r;

	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		return err_sys(err, errno, "open netfilter's log");
	set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER);
	r = log_set(fd, group, NFULA_CFG_CMD, &bind_cmd, sizeof(bind_cmd));
	if (r == 0)
		r = log_set(fd, group, NFULA_CFG_MODE, &mode, sizeof(mode));
	if (r == 0)
		r = log_set(fd, group, NFULA_CFG_TIMEOUT, &flush,
			    sizeof(flush));
	if (r < 0)
		return err_sys(err, -r, "bind netfilter's log group %u", group);
	return TAKE_FD(fd);
}
