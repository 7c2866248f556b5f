/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_dns_answer.c - any bytes that a server may answer with
 *
 * The message's own id and question are taken as what was asked, so that the
 * fuzzer gets past the comparison. Where ldns can read the message too, its
 * records are followed from the question by CNAMEs here once more, in another
 * way: the addresses must be the same, and in particular none may be in ours
 * that the chain does not lead to.
 */
#include "resolver/dns_wire.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef HAVE_LDNS
#include <arpa/inet.h>
#include <ldns/ldns.h>

#define PRIVATE_TYPES 0xff00u

static bool is_of(const ldns_rr *rr, const ldns_rdf *owner)
{
	return ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN &&
	       ldns_dname_compare(ldns_rr_owner(rr), owner) == 0;
}

/* The A records of @owner: how many, and whether they are @answer's first. */
static size_t compare(const ldns_rr_list *list, const ldns_rdf *owner,
		      const struct dns_answer *answer)
{
	size_t n = 0;

	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		uint32_t address;

		if (!is_of(rr, owner) || ldns_rr_get_type(rr) != LDNS_RR_TYPE_A)
			continue;
		memcpy(&address, ldns_rdf_data(ldns_rr_rdf(rr, 0)), 4);
		if (n < answer->n_addresses)
			assert(answer->addresses[n].address == ntohl(address));
		n++;
	}
	return n;
}

static const ldns_rdf *target(const ldns_rr_list *list, const ldns_rdf *owner)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);

		if (is_of(rr, owner) &&
		    ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME)
			return ldns_rr_rdf(rr, 0);
	}
	return NULL;
}

/* ldns passes over the length of records whose type has a fixed one, and reads
 * what follows them wrongly: no opinion on those.
 */
static bool can_judge(const ldns_rr_list *list)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		ldns_rr_type type = ldns_rr_get_type(ldns_rr_list_rr(list, i));

		if (type != LDNS_RR_TYPE_A && type != LDNS_RR_TYPE_CNAME &&
		    type < PRIVATE_TYPES)
			return false;
	}
	return true;
}

/* What the bytes mean to another implementation. */
static void ask_ldns(const uint8_t *data, size_t size,
		     const struct dns_answer *answer)
{
	const ldns_rdf *owner;
	const ldns_rr_list *list;
	size_t n = 0;
	ldns_pkt *pkt;

	if (ldns_wire2pkt(&pkt, data, size) != LDNS_STATUS_OK)
		return;
	list = ldns_pkt_answer(pkt);
	owner = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(pkt), 0));
	if (!can_judge(list)) {
		ldns_pkt_free(pkt);
		return;
	}
	for (int hop = 0; owner && hop <= DNS_CHAIN_MAX; hop++) {
		n = compare(list, owner, answer);
		if (n)
			break;
		owner = target(list, owner);
	}
	assert(answer->n_addresses ==
	       (n < DNS_ADDRESSES_MAX ? n : DNS_ADDRESSES_MAX));
	ldns_pkt_free(pkt);
}
#else
static void ask_ldns(const uint8_t *data, size_t size,
		     const struct dns_answer *answer)
{
	(void)data;
	(void)size;
	(void)answer;
}
#endif

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
	if (!answer.truncated && answer.rcode == DNS_NOERROR)
		ask_ldns(data, size, &answer);
	return 0;
}
