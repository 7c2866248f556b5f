/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_tls.c - TLS below a pump of bytes, by OpenSSL */
#include "base/grpc_tls.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct session {
	struct grpc_tls tls; /* first */
	SSL *ssl;
};

static SSL *ssl_of(struct grpc_tls *tls)
{
	return ((struct session *)tls)->ssl;
}

/* Why it failed: what is wrong with the certificate, if that is it. */
static ssize_t failed(struct grpc_tls *tls, const char *what)
{
	long verify = SSL_get_verify_result(ssl_of(tls));
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	if (verify != X509_V_OK)
		reason = X509_verify_cert_error_string(verify);
	snprintf(tls->why, sizeof(tls->why), "%s: %s", what,
		 reason ? reason : "the peer closed the connection");
	ERR_clear_error();
	return -EIO;
}

/* What a call of OpenSSL's means that gave @r. */
static ssize_t result(struct grpc_tls *tls, int r, const char *what)
{
	int saved = errno;

	if (r > 0)
		return r;
	switch (SSL_get_error(ssl_of(tls), r)) {
	case SSL_ERROR_WANT_READ:
		tls->wants = EPOLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		tls->wants = EPOLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		if (saved && !ERR_peek_error()) {
			snprintf(tls->why, sizeof(tls->why), "%s: %s", what,
				 strerrordesc_np(saved));
			return -EIO;
		}
		break;
	default:
		break;
	}
	return failed(tls, what);
}

static void tls_begin(struct grpc_tls *tls, int fd)
{
	/* OpenSSL's socket BIO knows no MSG_NOSIGNAL. */
	signal(SIGPIPE, SIG_IGN);
	SSL_set_fd(ssl_of(tls), fd);
	SSL_set_mode(ssl_of(tls), SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
}

/* What is left of earlier calls would be taken for this one's. */
static void forget_errors(void)
{
	errno = 0;
	ERR_clear_error();
}

static ssize_t tls_handshake(struct grpc_tls *tls)
{
	forget_errors();
	return result(tls, SSL_do_handshake(ssl_of(tls)), "TLS handshake");
}

static ssize_t tls_read(struct grpc_tls *tls, uint8_t *buf, size_t size)
{
	forget_errors();
	return result(tls, SSL_read(ssl_of(tls), buf, (int)size), "read");
}

static ssize_t tls_write(struct grpc_tls *tls, const uint8_t *buf, size_t len)
{
	forget_errors();
	return result(tls, SSL_write(ssl_of(tls), buf, (int)len), "write");
}

static void tls_shutdown(struct grpc_tls *tls)
{
	forget_errors();
	SSL_shutdown(ssl_of(tls));
	forget_errors();
}

static void tls_free(struct grpc_tls *tls)
{
	SSL_free(ssl_of(tls));
	free(tls);
}

static const struct grpc_tls_ops ops = {
	.begin = tls_begin,
	.handshake = tls_handshake,
	.read = tls_read,
	.write = tls_write,
	.shutdown = tls_shutdown,
	.free = tls_free,
};

struct grpc_tls *grpc_tls_new(SSL *ssl)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->tls.ops = &ops;
	s->ssl = ssl;
	return &s->tls;
}

SSL *grpc_tls_session(struct grpc_tls *tls)
{
	return ssl_of(tls);
}
