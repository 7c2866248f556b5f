/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_dns_answer.c - any bytes that a server may answer with
 *
 * The message's own id and question are taken as what was asked, so that the
 * fuzzer gets past the comparison.
 */
#include "resolver/dns_wire.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t question[DNS_QUERY_MAX];
	struct dns_answer answer;
	struct dns_query q;
	size_t end = 12;

	if (size < 17 || size > DNS_ANSWER_MAX)
		return 0;
	while (end < size && data[end] && end < 12 + DNS_NAME_MAX)
		end += 1u + data[end];
	end += 5;
	if (end > size || end > sizeof(question))
		return 0;
	memcpy(question, data, end);
	memcpy(question + 2, "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 10);
	if (dns_query_parse(question, end, &q) != 0)
		return 0;
	if (dns_answer_parse(data, size, q.id, q.wire, q.wire_len, q.type,
			     &answer) < 0)
		return 0;
	assert(answer.n_addresses <= DNS_ADDRESSES_MAX);
	for (size_t i = 0; i < answer.n_addresses; i++)
		assert(answer.addresses[i].ttl <= INT32_MAX);
	return 0;
}
