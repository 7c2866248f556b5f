/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_io.h - moves bytes between a grpc_conn and a descriptor
 *
 * For stream sockets (TCP, unix, vsock), with or without TLS, and for a serial
 * line to a guest. Nobody has to say that there is something to send: the pump
 * hears it from the connection.
 *
 * Main thread only; nothing blocks.
 */
#ifndef BASE_GRPC_IO_H
#define BASE_GRPC_IO_H

#include <stdbool.h>
#include <stdint.h>

struct grpc_conn;
struct grpc_io;
struct grpc_tls;
struct loop;

#define GRPC_IO_HANDSHAKE_MS 5000  /* default of handshake_ms */
#define GRPC_IO_STALL_MS     30000 /* default of stall_ms */

/**
 * struct grpc_io_params - How the bytes travel; zero is plain bytes
 * @tls:	A session that has not begun (base/grpc_tls.h). Consumed
 * @connecting:	A connect() is under way on the descriptor
 * @resync:	The descriptor is a serial line, this the node's end of it
 *		(proto/resync.h)
 * @handshake_ms: For connect, TLS and resync together, until ready; 0: default
 * @stall_ms:	The peer takes nothing of what we have for it; 0: default
 * @idle_ms:	Drained after so long without a call; 0: never
 */
struct grpc_io_params {
	struct grpc_tls *tls;
	bool connecting;
	bool resync;
	uint32_t handshake_ms;
	uint32_t stall_ms;
	uint32_t idle_ms;
};

/**
 * struct grpc_io_ops - What the owner of a pump wants to hear
 * @ready:	Connected, TLS done, in step: calls move now.  Calls may be
 *		started before.  May be NULL
 * @closed:	Once and last, unless freed before; never from within
 *		grpc_io_new(). All calls have ended. @why is for a person. The
 *		pump, the connection and the descriptor are gone after it returns
 */
struct grpc_io_ops {
	void (*ready)(struct grpc_io *io, void *arg);
	void (*closed)(struct grpc_io *io, const char *why, void *arg);
};

/**
 * grpc_io_new() - Begin to move bytes
 * @fd:		Consumed; made non-blocking
 * @conn:	Consumed; its hooks are taken
 * @params:	NULL: all defaults; only params->tls is kept
 * @ops:	Borrowed for the pump's life
 *
 * Return: the pump, never NULL
 */
struct grpc_io *grpc_io_new(struct loop *loop, int fd, struct grpc_conn *conn,
			    const struct grpc_io_params *params,
			    const struct grpc_io_ops *ops, void *arg);

/* Ends all calls now (UNAVAILABLE) and frees, without @closed. Not from within
 * callbacks of its connection or its own. NULL is fine. Returns NULL.
 */
struct grpc_io *grpc_io_free(struct grpc_io *io);

/* End all calls with UNAVAILABLE and @why, and close; @closed comes from the
 * loop. For a soft end use grpc_conn_drain().
 */
void grpc_io_close(struct grpc_io *io, const char *why);

struct grpc_conn *grpc_io_conn(const struct grpc_io *io);

/* NULL without TLS. */
struct grpc_tls *grpc_io_tls(const struct grpc_io *io);

bool grpc_io_is_ready(const struct grpc_io *io);

#endif /* BASE_GRPC_IO_H */
