/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_refused.c - any message of the packet filter's log group */
#include "resolver/refused.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct refused_packet packet;

	if (refused_parse(data, size, &packet) == 0) {
		assert(packet.ifindex != 0);
		assert(strlen(packet.rule) <= REFUSED_RULE_MAX);
	}
	return 0;
}
