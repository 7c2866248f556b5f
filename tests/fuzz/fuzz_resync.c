/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_resync.c - any bytes on a serial line, cut anywhere
 *
 * The first byte says how the input is cut. The guest's scanner must not lose
 * or make up bytes; what the node stuffs the guest must get back unchanged.
 */
#include "resync.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct resync_guest *rs, const uint8_t *data, size_t len,
		 size_t step, uint8_t *out, size_t *out_len,
		 unsigned int *marks)
{
	for (size_t at = 0; at < len; at += step) {
		size_t left = len - at < step ? len - at : step;
		const uint8_t *p = data + at, *part;
		enum resync_event event;
		size_t part_len;

		while ((event = resync_guest_next(rs, &p, &left, &part,
						  &part_len)) != RESYNC_MORE) {
			if (event == RESYNC_MARK) {
				assert(part_len == RESYNC_MARK_LEN);
				++*marks;
				continue;
			}
			memcpy(out + *out_len, part, part_len);
			*out_len += part_len;
		}
		if (step % 3 == 0) {
			part_len = resync_guest_release(rs, &part);
			if (part_len)
				memcpy(out + *out_len, part, part_len);
			*out_len += part_len;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t random[RESYNC_RANDOM_LEN] = "random";
	struct resync_guest guest;
	struct resync_node node;
	unsigned int marks = 0;
	size_t step, n, out_len = 0;
	const uint8_t *part;
	uint8_t *line, *out;

	if (!size || size > 65536)
		return 0;
	step = (size_t)data[0] % 40 + 1;
	data++;
	size--;
	out = malloc(size * 2 + 64);
	line = malloc(RESYNC_STUFFED_MAX(size));

	/* Raw. */
	resync_guest_init(&guest);
	feed(&guest, data, size, step, out, &out_len, &marks);
	assert(out_len <= size);
	resync_node_init(&node, random);
	n = resync_node_skip(&node, data, size);
	assert(n == size || resync_node_in_sync(&node));

	/* Stuffed. */
	marks = 0;
	out_len = 0;
	resync_guest_init(&guest);
	resync_node_init(&node, random);
	n = resync_node_stuff(&node, line, data, size);
	assert(n <= RESYNC_STUFFED_MAX(size));
	feed(&guest, line, n, step, out, &out_len, &marks);
	n = resync_guest_release(&guest, &part);
	if (n)
		memcpy(out + out_len, part, n);
	out_len += n;
	assert(marks == 0);
	assert(out_len == size);
	assert(!size || !memcmp(out, data, size));
	free(line);
	free(out);
	return 0;
}
