/* SPDX-License-Identifier: Apache-2.0 */
/* tube.h - one TCP connection, spliced to a Tunnel call of an agent
 *
 * Bytes go both ways with backpressure and half-close; what fails in the guest
 * shows to the peer as a reset.
 */
#ifndef FRONT_TUBE_H
#define FRONT_TUBE_H

#include <stdbool.h>
#include <stdint.h>

struct front;
struct tube;

/**
 * struct tube_ops - What the owner wants to hear
 * @connected:	The guest's port took the connection.  May be NULL
 * @ended:	Once and last; the tube is freed after it returns.  @connected:
 *		it had been.  Never from within tube_new() or tube_free()
 */
struct tube_ops {
	void (*connected)(struct tube *t, void *arg);
	void (*ended)(struct tube *t, bool connected, void *arg);
};

/**
 * tube_new() - Lead a connection to a port of a guest
 * @sandbox_id:	Resumed if need be
 * @fd:		Consumed; -EBADF: only find out whether the port accepts, and
 *		end after @connected
 */
struct tube *tube_new(struct front *front, const char *sandbox_id,
		      uint16_t port, int fd, const struct tube_ops *ops,
		      void *arg);

/* Cut it. @ended does not come. */
void tube_free(struct tube *t);

#endif /* FRONT_TUBE_H */
