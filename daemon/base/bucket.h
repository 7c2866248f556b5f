/* SPDX-License-Identifier: Apache-2.0 */
/* bucket.h - so many a second (pure) */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* Tokens that come back with time. Times are in milliseconds.
 */
struct bucket {
	uint64_t at_ms;
	uint32_t milli_tokens;
};

/* Take a token of @per_s, at most @burst saved up. False: none is left. */
bool bucket_take(struct bucket *bucket, uint32_t per_s, uint32_t burst,
		 uint64_t now_ms);

#endif /* BASE_BUCKET_H */
