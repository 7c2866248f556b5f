/* SPDX-License-Identifier: Apache-2.0 */
/* dial.c - an address as people write it, to sockets that connect to it */
#include "ctl/dial.h"

#include "ctl/client.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct dial {
	struct sockaddr_un un;	/* sun_family 0: TCP */
	struct addrinfo *found; /* all addresses of the host */
	struct addrinfo *next;
	bool tried;
	char host[256];
	const struct dial_tls *tls;
	SSL_CTX *trust;
};

/* "host:1", "192.0.2.1:1", "[2001:db8::1]:1" */
static int resolve(struct dial *d, const char *address, struct error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
					.ai_flags = AI_NUMERICSERV };
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : 0;
	uint64_t port;
	int r;

	if (len > 1 && address[0] == '[' && colon[-1] == ']') {
		address++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(d->host) ||
	    str_parse_u64(colon + 1, 65535, &port) < 0)
		return err_set(err, ERR_INVALID,
			       "unix:PATH or HOST:PORT is needed");
	memcpy(d->host, address, len);
	r = getaddrinfo(d->host, colon + 1, &hints, &d->found);
	if (r != 0)
		return err_set(err, ERR_UNAVAILABLE, "%s", gai_strerror(r));
	d->next = d->found;
	return 0;
}

void dial_freep(struct dial **d)
{
	if (!*d)
		return;
	if ((*d)->found)
		freeaddrinfo((*d)->found);
	if ((*d)->trust)
		(*d)->tls->free((*d)->trust);
	free(*d);
}

int dial_new(const struct client_target *target, struct dial **ret,
	     struct error *err)
{
	_cleanup_(dial_freep) struct dial *d = xcalloc(1, sizeof(*d));

	if (strncmp(target->address, "unix:", 5) == 0) {
		d->un.sun_family = AF_UNIX;
		if (str_copy(d->un.sun_path, sizeof(d->un.sun_path),
			     target->address + 5) < 0)
			return err_set(err, ERR_INVALID,
				       "the path is longer than %zu bytes",
				       sizeof(d->un.sun_path) - 1);
	} else {
		d->tls = target->tls;
		if (resolve(d, target->address, err) < 0 ||
		    d->tls->load(target, &d->trust, err) < 0)
			return -1;
	}
	*ret = TAKE_PTR(d);
	return 0;
}

static int begin(int family, const struct sockaddr *addr, socklen_t len,
		 struct error *err)
{
	_cleanup_close_ int fd = -EBADF;

	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, "socket");
	if (family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
			   sizeof(int));
	if (connect(fd, addr, len) < 0 && errno != EINPROGRESS)
		return err_set(err, ERR_UNAVAILABLE, "%s", strerror(errno));
	return TAKE_FD(fd);
}

int dial_next(struct dial *d, struct grpc_tls **ret_tls, struct error *err)
{
	*ret_tls = NULL;
	if (d->un.sun_family) {
		if (d->tried)
			return -1;
		d->tried = true;
		return begin(AF_UNIX, (struct sockaddr *)&d->un, sizeof(d->un),
			     err);
	}
	while (d->next) {
		struct addrinfo *ai = d->next;
		int fd = begin(ai->ai_family, ai->ai_addr, ai->ai_addrlen, err);

		d->next = ai->ai_next;
		if (fd < 0)
			continue;
		*ret_tls = d->tls->begin(d->trust, d->host);
		return fd;
	}
	return -1;
}
