/* SPDX-License-Identifier: Apache-2.0 */
/* pump.h - our own descriptors beside a stream: what comes in, what goes out
 *
 * Standard input and output belong to others too (a shell, a pipe's other
 * end): they are never made non-blocking. A source is read when there is
 * something; a sink takes what fits and keeps the rest, and its owner stops
 * feeding it while sink_is_full().
 */
#ifndef CTL_PUMP_H
#define CTL_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct sink;
struct source;

/* One read; a message may hold up to 1 MiB. */
#define PUMP_READ_MAX (64u << 10)
/* A sink is full with this much waiting, and no more when half is gone. */
#define SINK_FULL (256u << 10)

/**
 * struct sink_ops - What the owner of a sink wants to hear
 * @drained:	It was full and is no longer
 * @failed:	Writing failed with this errno; what comes after is dropped
 */
struct sink_ops {
	void (*drained)(struct sink *s, void *arg);
	void (*failed)(struct sink *s, int errnum, void *arg);
};

/* @fd is borrowed. */
struct sink *sink_new(struct loop *loop, int fd, const struct sink_ops *ops,
		      void *arg);
struct sink *sink_free(struct sink *s);
/* Takes all. */
void sink_write(struct sink *s, const void *data, size_t len);
bool sink_is_full(const struct sink *s);
bool sink_is_empty(const struct sink *s);
bool sink_has_failed(const struct sink *s);

/**
 * struct source_ops - What the owner of a source wants to hear
 * @data:	Bytes came
 * @end:	No more will; @errnum is 0 at the end of the file
 */
struct source_ops {
	void (*data)(struct source *s, const uint8_t *data, size_t len,
		     void *arg);
	void (*end)(struct source *s, int errnum, void *arg);
};

/* @fd is borrowed; reading begins at once. */
struct source *source_new(struct loop *loop, int fd,
			  const struct source_ops *ops, void *arg);
struct source *source_free(struct source *s);
void source_pause(struct source *s, bool paused);

#endif /* CTL_PUMP_H */
