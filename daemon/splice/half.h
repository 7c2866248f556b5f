/* SPDX-License-Identifier: Apache-2.0 */
/* half.h - one direction of a connection
 *
 * Bytes that must be looked at go through a buffer: those before `pass` may go
 * on, the others wait. What need not be looked at (`raw`) goes through a pipe
 * and never enters the process. Nothing is read while something waits to be
 * written: that is the backpressure.
 */
#ifndef SPLICE_HALF_H
#define SPLICE_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than any head that is looked at (tls.h, http.h). */
#define HALF_BUFFER 32768u

struct pipes;

/**
 * struct half
 * @from, @to:	Sockets, the flow's; -1 as long as there is none
 * @n, @pass:	Bytes in @buffer; so many may go
 * @piped:	Bytes in the pipe
 * @eof:	@from has ended
 * @shut:	@to was told
 */
struct half {
	struct pipes *pipes;
	int from, to;
	uint8_t *buffer;
	size_t n, pass;
	int pipe[2];
	size_t piped;
	bool raw, eof, shut;
};

/* Pipes for those who need one at the moment. */
struct pipes *pipes_new(void);
struct pipes *pipes_free(struct pipes *pipes);

void half_init(struct half *h, struct pipes *pipes, int from, int to);
void half_fini(struct half *h);

enum half_result {
	HALF_BROKEN = -1, /* one of the sockets is */
	HALF_AGAIN = 0,	  /* not now */
	HALF_MOVED = 1,
};

/* Read once. HALF_MOVED: there is more in the buffer or the pipe, or it has
 * come to its end.
 */
enum half_result half_read(struct half *h);
/* Write all that may go. HALF_AGAIN: some is left. At the end, and when nothing
 * that may go is left, the other side is told.
 */
enum half_result half_write(struct half *h);

/* Something waits for @to. */
bool half_blocked(const struct half *h);
/* More could be read. */
bool half_wants(const struct half *h);

#endif /* SPLICE_HALF_H */
