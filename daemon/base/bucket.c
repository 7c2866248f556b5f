/* SPDX-License-Identifier: Apache-2.0 */
/* bucket.c - so many a second (pure) */
#include "base/bucket.h"

bool bucket_take(struct bucket *bucket, uint32_t per_s, uint32_t burst,
		 uint64_t now_ms)
{
	uint64_t gained = (now_ms - bucket->at_ms) * per_s;
	uint64_t full = (uint64_t)burst * 1000;

	if (now_ms - bucket->at_ms > 3600000 ||
	    bucket->milli_tokens + gained > full)
		bucket->milli_tokens = (uint32_t)full;
	else
		bucket->milli_tokens += (uint32_t)gained;
	bucket->at_ms = now_ms;
	if (bucket->milli_tokens < 1000)
		return false;
	bucket->milli_tokens -= 1000;
	return true;
}
