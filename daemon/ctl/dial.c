/* SPDX-License-Identifier: Apache-2.0 */
/* dial.c - an address as people write it, to sockets that connect to it */
#include "ctl/dial.h"

#include "ctl/client.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct dial {
	struct sockaddr_un un;	/* sun_family 0: TCP */
	struct addrinfo *found; /* all addresses of the host */
	struct addrinfo *next;
	bool tried;
	char host[256];
	SSL_CTX *tls;
};

static int tls_error(struct error *err, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *why = e ? ERR_reason_error_string(e) : NULL;

	err_set(err, ERR_INVALID, "%s: %s", what, why ? why : "cannot be used");
	ERR_clear_error();
	return -1;
}

static int load_tls(struct dial *d, const struct client_target *t,
		    struct error *err)
{
	static const unsigned char alpn[] = { 2, 'h', '2' };

	d->tls = SSL_CTX_new(TLS_client_method());
	if (!d->tls)
		return tls_error(err, "TLS");
	SSL_CTX_set_min_proto_version(d->tls, TLS1_3_VERSION);
	SSL_CTX_set_verify(d->tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(d->tls, alpn, sizeof(alpn));
	if (SSL_CTX_load_verify_file(d->tls, t->ca) != 1)
		return tls_error(err, t->ca);
	if (SSL_CTX_use_certificate_chain_file(d->tls, t->cert) != 1)
		return tls_error(err, t->cert);
	if (SSL_CTX_use_PrivateKey_file(d->tls, t->key, SSL_FILETYPE_PEM) != 1)
		return tls_error(err, t->key);
	if (SSL_CTX_check_private_key(d->tls) != 1)
		return tls_error(err, "key and certificate");
	return 0;
}

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
	SSL_CTX_free((*d)->tls);
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
		if (resolve(d, target->address, err) < 0 ||
		    load_tls(d, target, err) < 0)
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

static SSL *new_session(const struct dial *d)
{
	SSL *ssl = SSL_new(d->tls);
	uint8_t ip[16];
	int ok;

	if (!ssl)
		abort();
	if (inet_pton(AF_INET, d->host, ip) == 1 ||
	    inet_pton(AF_INET6, d->host, ip) == 1)
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl),
						   d->host);
	else
		ok = SSL_set1_host(ssl, d->host) &&
		     SSL_set_tlsext_host_name(ssl, d->host);
	if (!ok)
		abort();
	SSL_set_connect_state(ssl);
	return ssl;
}

int dial_next(struct dial *d, SSL **ret_ssl, struct error *err)
{
	*ret_ssl = NULL;
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
		*ret_ssl = new_session(d);
		return fd;
	}
	return -1;
}
