/* SPDX-License-Identifier: Apache-2.0 */
/* cloud_event.h - one event as CloudEvents 1.0 has it, in JSON
 *
 * Source and id together are an event's identity everywhere: the node, and the
 * sequence number in its log. The subject is the sandbox.
 */
#ifndef BASE_CLOUD_EVENT_H
#define BASE_CLOUD_EVENT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cloud_pair {
	const char *key, *value;
};

struct cloud_event {
	uint64_t sequence;
	const char *node_id; /* "": not known */
	const char *type;
	const char *sandbox_id; /* "": of the node */
	int64_t seconds;	/* 0: no time */
	int32_t nanos;
	const struct cloud_pair *data;
	size_t n_data;
};

/* One object, without a newline. Values of keys that count something are
 * numbers, all others strings.
 */
void cloud_event_write(FILE *out, const struct cloud_event *event);

#endif /* BASE_CLOUD_EVENT_H */
