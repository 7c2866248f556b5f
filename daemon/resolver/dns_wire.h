/* SPDX-License-Identifier: Apache-2.0 */
/* dns_wire.h - the few DNS messages that a guest's resolver needs
 *
 * A strict subset of RFC 1035, 6891 and 8914: one question, class IN, opcode
 * QUERY. Fixed buffers, no allocation, no state: bytes in, structs out, and
 * back. Both directions are hostile: guests ask, and whoever owns a name
 * answers. Pure; any thread.
 */
#ifndef RESOLVER_DNS_WIRE_H
#define RESOLVER_DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_MAX	  255	/* bytes on the wire, RFC 1035 2.3.4 */
#define DNS_UDP_MAX	  1232	/* what we offer and send, DNS flag day 2020 */
#define DNS_QUERY_MAX	  1024	/* of a guest, also over TCP */
#define DNS_ANSWER_MAX	  16384 /* of an upstream, over TCP */
#define DNS_RECORDS_MAX	  512	/* looked at in one answer */
#define DNS_CHAIN_MAX	  8	/* CNAMEs from the question to the addresses */
#define DNS_ADDRESSES_MAX 64	/* kept of one answer */

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_SOA = 6,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_OPT = 41,
	DNS_TYPE_SVCB = 64,
	DNS_TYPE_HTTPS = 65,
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

/* Extended errors (RFC 8914) that we send. */
enum dns_extended {
	DNS_EDE_NONE = 0xffff,
	DNS_EDE_BLOCKED = 15,
	DNS_EDE_NETWORK = 23
};

/**
 * struct dns_query - What a guest asked
 * @id:		To be echoed
 * @recursion:	RD, to be echoed
 * @edns:	It sent an OPT record; then @udp_size is its limit (>= 512)
 * @type:	QTYPE, any 16 bits
 * @name:	The name in lower case, without the final dot; "" is the root.
 *		Only valid if @plain
 * @plain:	All labels are of [A-Za-z0-9_-]: nothing else is ever looked up
 * @wire:	The name as asked (its case is echoed), @wire_len bytes with the
 *		root label
 */
struct dns_query {
	uint16_t id;
	bool recursion;
	bool edns;
	bool plain;
	uint16_t udp_size;
	uint16_t type;
	uint16_t wire_len;
	uint8_t wire[DNS_NAME_MAX];
	char name[DNS_NAME_MAX + 1];
};

/**
 * dns_query_parse() - A guest's message
 *
 * Return: 0; -EBADMSG: not even a query, drop it; or an enum dns_rcode
 * (FORMERR, NOTIMP, REFUSED for another class) to answer with, @ret then holds
 * what was understood (at least @id)
 */
int dns_query_parse(const uint8_t *msg, size_t len, struct dns_query *ret);

struct dns_address {
	uint32_t address; /* host order */
	uint32_t ttl;	  /* seconds: the least on the way to it */
};

/**
 * struct dns_answer - What an upstream answered
 * @rcode:	NOERROR and NXDOMAIN are answers, the rest failures
 * @truncated:	Ask again over TCP
 * @addresses:	Those of A records that the question's name leads to by the
 *		CNAMEs of this answer
 */
struct dns_answer {
	enum dns_rcode rcode;
	bool truncated;
	size_t n_addresses;
	struct dns_address addresses[DNS_ADDRESSES_MAX];
};

/**
 * dns_answer_parse() - An upstream's message
 * @id:		What the question to it carried
 * @wire:	The question's name as it was sent, to be echoed to the letter
 * @type:	The question's type
 *
 * Return: 0, or -EBADMSG: not the answer to that question, or broken; wait on
 */
int dns_answer_parse(const uint8_t *msg, size_t len, uint16_t id,
		     const uint8_t *wire, size_t wire_len, uint16_t type,
		     struct dns_answer *ret);

/**
 * dns_build_question() - A question for an upstream
 * @wire:	The name; bit i of @case_bits sets the case of its i-th letter
 *		(0x20), and @wire is changed accordingly, for the comparison
 *
 * With an OPT record of DNS_UDP_MAX and nothing of the guest's but name and
 * type. Return: its length, or -ENOBUFS
 */
int dns_build_question(uint8_t *buf, size_t size, uint16_t id, uint8_t *wire,
		       size_t wire_len, const uint8_t case_bits[32],
		       uint16_t type);

/**
 * dns_build_reply() - What the guest gets
 * @query:	As parsed
 * @rcode:	NOERROR without addresses is "no data", with an SOA so that it
 *		is cached
 * @extended:	enum dns_extended; sent only to who sent EDNS
 * @addresses:	A records to put in, each with @ttl
 * @tcp:	No size limit but @size
 *
 * Return: its length, or -ENOBUFS. What does not fit is left out and TC set.
 */
int dns_build_reply(uint8_t *buf, size_t size, const struct dns_query *query,
		    enum dns_rcode rcode, enum dns_extended extended,
		    const struct dns_address *addresses, size_t n_addresses,
		    uint32_t ttl, bool tcp);

#endif /* RESOLVER_DNS_WIRE_H */
