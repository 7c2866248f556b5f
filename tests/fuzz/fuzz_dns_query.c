/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_dns_query.c - any bytes that a guest may ask with */
#include "resolver/dns_wire.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_address some = { 0x01020304, 1 };
	struct dns_query q;
	uint8_t out[DNS_UDP_MAX];
	int n, rc = dns_query_parse(data, size, &q);

	if (rc < 0)
		return 0;
	assert(rc <= DNS_REFUSED);
	assert(q.wire_len <= DNS_NAME_MAX);
	assert(strlen(q.name) <= DNS_NAME_MAX);
	if (rc == 0)
		assert(q.wire_len > 0 && q.wire[q.wire_len - 1] == 0);
	n = dns_build_reply(out, sizeof(out), &q, (enum dns_rcode)rc,
			    DNS_EDE_BLOCKED, &some, rc ? 0 : 1, 60, false);
	/* Whatever could be understood can be answered. */
	assert(n >= 12 && (size_t)n <= sizeof(out));
	return 0;
}
