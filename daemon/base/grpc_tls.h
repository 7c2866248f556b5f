/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_tls.h - TLS below a pump of bytes (grpc_io.h)
 *
 * Apart from the pump, which knows it by its operations only: a program that
 * never speaks TLS is linked without OpenSSL, whose libraries take longer to
 * load than a short call takes.
 *
 * Main thread only; nothing blocks.
 */
#ifndef BASE_GRPC_TLS_H
#define BASE_GRPC_TLS_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct grpc_tls;

/**
 * struct grpc_tls_ops - What the pump asks for
 * @begin:	Use this descriptor, borrowed and non-blocking
 * @handshake:	1: it is done; else as @read
 * @read:	Bytes; 0 at the end; -EAGAIN: @wants says when to go on; -EIO:
 *		@why says what failed
 * @write:	The same
 * @shutdown:	Tell the peer that there is no more, if that goes at once
 */
struct grpc_tls_ops {
	void (*begin)(struct grpc_tls *tls, int fd);
	ssize_t (*handshake)(struct grpc_tls *tls);
	ssize_t (*read)(struct grpc_tls *tls, uint8_t *buf, size_t size);
	ssize_t (*write)(struct grpc_tls *tls, const uint8_t *buf, size_t len);
	void (*shutdown)(struct grpc_tls *tls);
	void (*free)(struct grpc_tls *tls);
};

/**
 * struct grpc_tls - One session
 * @wants:	EPOLLIN, EPOLLOUT: what must be for it to go on; 0: nothing
 * @why:	For a person, after -EIO
 */
struct grpc_tls {
	const struct grpc_tls_ops *ops;
	uint32_t wants;
	char why[160];
};

/* With its role and what it demands of the peer set; consumed. */
struct grpc_tls *grpc_tls_new(SSL *ssl);

/* Borrowed. For the peer's certificate. */
SSL *grpc_tls_session(struct grpc_tls *tls);

#endif /* BASE_GRPC_TLS_H */
