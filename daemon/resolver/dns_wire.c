/* SPDX-License-Identifier: Apache-2.0 */
/* dns_wire.c - the few DNS messages that a guest's resolver needs
 *
 * Theory of operation
 * ===================
 *
 * A reader walks a message with a cursor and a sticky failure: once something
 * does not fit, every further read gives zeros and the one check at the end
 * refuses the message. Names are expanded into a buffer of DNS_NAME_MAX; a
 * compression pointer must point before the name it stands in, and each before
 * the last one, so a walk ends.
 *
 * Of an answer only the answer section is looked at, and in it only class IN,
 * A and CNAME. Which addresses count is decided by walking from the question's
 * name along the CNAMEs that are in the message, at most DNS_CHAIN_MAX steps:
 * an A record of any other name is not an answer to what was asked.
 */
#include "resolver/dns_wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define HEADER_SIZE 12u
#define CLASS_IN    1
#define FLAG_QR	    0x8000
#define FLAG_TC	    0x0200
#define FLAG_RD	    0x0100
#define FLAG_RA	    0x0080
#define OPT_EDE	    15
#define NODATA_TTL  60

struct reader {
	const uint8_t *msg;
	size_t len, at;
	bool failed;
};

struct name {
	size_t len; /* with the root label */
	uint8_t wire[DNS_NAME_MAX];
};

static uint8_t get8(struct reader *r)
{
	if (r->failed || r->at >= r->len) {
		r->failed = true;
		return 0;
	}
	return r->msg[r->at++];
}

static uint16_t get16(struct reader *r)
{
	uint16_t hi = get8(r);

	return (uint16_t)(hi << 8 | get8(r));
}

static uint32_t get32(struct reader *r)
{
	uint32_t hi = get16(r);

	return hi << 16 | get16(r);
}

static void skip(struct reader *r, size_t n)
{
	if (r->failed || n > r->len - r->at)
		r->failed = true;
	else
		r->at += n;
}

static void get_name(struct reader *r, struct name *ret)
{
	size_t at = r->at, limit = r->at;
	bool jumped = false;

	ret->len = 0;
	while (!r->failed) {
		uint8_t n;

		if (at >= r->len)
			break;
		n = r->msg[at];
		if ((n & 0xc0) == 0xc0) {
			size_t to;

			if (at + 1 >= r->len)
				break;
			to = (size_t)(n & 0x3f) << 8 | r->msg[at + 1];
			if (!jumped)
				r->at = at + 2;
			jumped = true;
			if (to >= limit)
				break;
			at = limit = to;
			continue;
		}
		if (n > 63 || at + 1 + n > r->len ||
		    ret->len + 1 + n > sizeof(ret->wire))
			break;
		memcpy(ret->wire + ret->len, r->msg + at, 1u + n);
		ret->len += 1u + n;
		at += 1u + n;
		if (n == 0) {
			if (!jumped)
				r->at = at;
			return;
		}
	}
	r->failed = true;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Label lengths are below 'A', so folding all bytes alike is right. */
static bool name_equal(const struct name *a, const struct name *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++) {
		if (lower(a->wire[i]) != lower(b->wire[i]))
			return false;
	}
	return true;
}

static bool is_plain(uint8_t c)
{
	c = lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '_';
}

/* Sets query->plain, and query->name if so. */
static void name_to_text(struct dns_query *query)
{
	size_t at = 0, out = 0;

	query->plain = false;
	query->name[0] = '\0';
	while (query->wire[at]) {
		uint8_t n = query->wire[at++];

		if (out)
			query->name[out++] = '.';
		for (; n; n--, at++) {
			if (!is_plain(query->wire[at]))
				return;
			query->name[out++] = (char)lower(query->wire[at]);
		}
	}
	query->name[out] = '\0';
	query->plain = true;
}

/* The additional section of a query: at most an OPT record. */
static int parse_additional(struct reader *r, unsigned int count,
			    struct dns_query *query)
{
	for (unsigned int i = 0; i < count; i++) {
		struct name owner;
		uint16_t type, class, size;
		uint32_t ttl;

		get_name(r, &owner);
		type = get16(r);
		class = get16(r);
		ttl = get32(r);
		size = get16(r);
		skip(r, size);
		if (r->failed)
			return DNS_FORMERR;
		if (type != DNS_TYPE_OPT)
			continue;
		if (query->edns || owner.len != 1)
			return DNS_FORMERR;
		(void)ttl;
		query->edns = true;
		query->udp_size = class < 512 ? 512 : class;
	}
	return 0;
}

int dns_query_parse(const uint8_t *msg, size_t len, struct dns_query *ret)
{
	struct reader r = { .msg = msg, .len = len };
	unsigned int flags, questions, answers, authority, additional;
	struct name name;
	uint16_t class;
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (len < HEADER_SIZE || len > DNS_QUERY_MAX)
		return -EBADMSG;
	ret->id = get16(&r);
	flags = get16(&r);
	questions = get16(&r);
	answers = get16(&r);
	authority = get16(&r);
	additional = get16(&r);
	if (flags & FLAG_QR)
		return -EBADMSG;
	ret->udp_size = 512;
	ret->recursion = flags & FLAG_RD;
	if ((flags >> 11 & 0xf) != 0)
		return DNS_NOTIMP;
	if (questions != 1 || answers || authority || additional > 2)
		return DNS_FORMERR;

	get_name(&r, &name);
	ret->type = get16(&r);
	class = get16(&r);
	if (r.failed)
		return DNS_FORMERR;
	ret->wire_len = (uint16_t)name.len;
	memcpy(ret->wire, name.wire, name.len);
	name_to_text(ret);
	rc = parse_additional(&r, additional, ret);
	if (rc)
		return rc;
	if (r.at != len)
		return DNS_FORMERR;
	return class == CLASS_IN ? 0 : DNS_REFUSED;
}

/* One pass over the answer section for records of @owner. Fills in addresses,
 * or *@next when a CNAME is there. Returns false when neither was found.
 */
static bool walk_records(const struct reader *section, unsigned int count,
			 const struct name *owner, uint32_t ttl_so_far,
			 struct dns_answer *ret, struct name *next,
			 uint32_t *ret_ttl, bool *ret_cname)
{
	struct reader r = *section;
	bool found = false;

	*ret_cname = false;
	for (unsigned int i = 0; i < count && !r.failed; i++) {
		struct name name;
		uint16_t type, class, size;
		uint32_t ttl;
		size_t end;

		get_name(&r, &name);
		type = get16(&r);
		class = get16(&r);
		ttl = get32(&r);
		size = get16(&r);
		if (r.failed || size > r.len - r.at)
			break;
		end = r.at + size;
		if (ttl > INT32_MAX)
			ttl = 0; /* RFC 2181 8 */
		if (ttl > ttl_so_far)
			ttl = ttl_so_far;
		if (class != CLASS_IN || !name_equal(&name, owner)) {
			r.at = end;
			continue;
		}
		if (type == DNS_TYPE_A && size == 4) {
			found = true;
			if (ret->n_addresses < DNS_ADDRESSES_MAX)
				ret->addresses[ret->n_addresses++] =
					(struct dns_address){ get32(&r), ttl };
		} else if (type == DNS_TYPE_CNAME && !*ret_cname) {
			get_name(&r, next);
			if (r.failed || r.at != end)
				break;
			*ret_ttl = ttl;
			*ret_cname = true;
		}
		r.at = end;
	}
	return found;
}

/* That every record can be read at all: one broken one refuses the message. */
static bool records_are_whole(struct reader r, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct name name;
		uint16_t type, size;
		size_t end;

		get_name(&r, &name);
		type = get16(&r);
		skip(&r, 6);
		size = get16(&r);
		if (r.failed || size > r.len - r.at)
			return false;
		end = r.at + size;
		if (type == DNS_TYPE_CNAME) {
			get_name(&r, &name);
			if (r.failed || r.at != end)
				return false;
		} else if (type == DNS_TYPE_A && size != 4) {
			return false;
		}
		r.at = end;
	}
	return true;
}

int dns_answer_parse(const uint8_t *msg, size_t len, uint16_t id,
		     const uint8_t *wire, size_t wire_len, uint16_t type,
		     struct dns_answer *ret)
{
	struct reader r = { .msg = msg, .len = len };
	unsigned int flags, questions, answers;
	struct name owner, next;
	uint32_t ttl = INT32_MAX;
	bool cname;

	memset(ret, 0, sizeof(*ret));
	if (len < HEADER_SIZE || len > DNS_ANSWER_MAX || get16(&r) != id)
		return -EBADMSG;
	flags = get16(&r);
	questions = get16(&r);
	answers = get16(&r);
	skip(&r, 4);
	if (!(flags & FLAG_QR) || (flags >> 11 & 0xf) != 0 || questions != 1)
		return -EBADMSG;
	get_name(&r, &owner);
	if (get16(&r) != type || get16(&r) != CLASS_IN || r.failed)
		return -EBADMSG;
	/* To the letter: the case is part of what an off-path liar must guess. */
	if (owner.len != wire_len || memcmp(owner.wire, wire, wire_len) != 0)
		return -EBADMSG;
	ret->rcode = flags & 0xf;
	ret->truncated = flags & FLAG_TC;
	if (ret->truncated || ret->rcode != DNS_NOERROR)
		return 0;
	if (answers > DNS_RECORDS_MAX || !records_are_whole(r, answers))
		return -EBADMSG;

	for (unsigned int hop = 0; hop <= DNS_CHAIN_MAX; hop++) {
		if (walk_records(&r, answers, &owner, ttl, ret, &next, &ttl,
				 &cname) ||
		    !cname)
			break;
		owner = next;
	}
	return 0;
}

struct writer {
	uint8_t *buf;
	size_t size, at;
	bool failed;
};

static void put(struct writer *w, const void *p, size_t n)
{
	if (w->failed || n > w->size - w->at) {
		w->failed = true;
		return;
	}
	memcpy(w->buf + w->at, p, n);
	w->at += n;
}

static void put16(struct writer *w, unsigned int v)
{
	put(w, (uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static void put32(struct writer *w, uint32_t v)
{
	put16(w, v >> 16);
	put16(w, v & 0xffff);
}

static void set16(struct writer *w, size_t at, unsigned int v)
{
	if (w->failed)
		return;
	w->buf[at] = (uint8_t)(v >> 8);
	w->buf[at + 1] = (uint8_t)v;
}

static void put_opt(struct writer *w, enum dns_extended extended)
{
	put(w, "", 1);
	put16(w, DNS_TYPE_OPT);
	put16(w, DNS_UDP_MAX);
	put32(w, 0);
	if (extended == DNS_EDE_NONE) {
		put16(w, 0);
		return;
	}
	put16(w, 6);
	put16(w, OPT_EDE);
	put16(w, 2);
	put16(w, extended);
}

int dns_build_question(uint8_t *buf, size_t size, uint16_t id, uint8_t *wire,
		       size_t wire_len, const uint8_t case_bits[32],
		       uint16_t type)
{
	struct writer w = { .buf = buf, .size = size };

	assert(wire_len <= DNS_NAME_MAX);
	for (size_t i = 0; i < wire_len; i++) {
		uint8_t c = lower(wire[i]);

		if (c >= 'a' && c <= 'z')
			wire[i] = case_bits[i / 8] >> (i % 8) & 1
					  ? (uint8_t)(c & ~0x20)
					  : c;
	}
	put16(&w, id);
	put16(&w, FLAG_RD);
	put16(&w, 1);
	put16(&w, 0);
	put16(&w, 0);
	put16(&w, 1);
	put(&w, wire, wire_len);
	put16(&w, type);
	put16(&w, CLASS_IN);
	put_opt(&w, DNS_EDE_NONE);
	return w.failed ? -ENOBUFS : (int)w.at;
}

/* "No data" is cached only with an SOA (RFC 2308): ours, of the name itself. */
static void put_soa(struct writer *w)
{
	put16(w, 0xc000 | HEADER_SIZE);
	put16(w, DNS_TYPE_SOA);
	put16(w, CLASS_IN);
	put32(w, NODATA_TTL);
	put16(w, 22);
	put(w, "\0", 2); /* mname and rname: the root */
	put32(w, 1);
	put32(w, 3600);
	put32(w, 600);
	put32(w, 86400);
	put32(w, NODATA_TTL);
}

int dns_build_reply(uint8_t *buf, size_t size, const struct dns_query *query,
		    enum dns_rcode rcode, enum dns_extended extended,
		    const struct dns_address *addresses, size_t n_addresses,
		    uint32_t ttl, bool tcp)
{
	struct writer w = { .buf = buf, .size = size };
	unsigned int flags = FLAG_QR | FLAG_RA | (unsigned int)rcode;
	unsigned int answers = 0, authority = 0;
	size_t limit = size;

	if (query->recursion)
		flags |= FLAG_RD;
	if (!tcp) {
		size_t theirs = query->udp_size ? query->udp_size : 512;

		if (theirs > DNS_UDP_MAX)
			theirs = DNS_UDP_MAX;
		if (limit > theirs)
			limit = theirs;
	}
	put16(&w, query->id);
	put16(&w, 0);
	put16(&w, query->wire_len ? 1 : 0);
	put16(&w, 0);
	put16(&w, 0);
	put16(&w, query->edns ? 1 : 0);
	if (query->wire_len) {
		put(&w, query->wire, query->wire_len);
		put16(&w, query->type);
		put16(&w, CLASS_IN);
	}
	for (size_t i = 0; i < n_addresses; i++) {
		/* 16 for this record, 17 for the OPT record behind all. */
		if (w.failed || w.at + 16 + 17 > limit) {
			flags |= FLAG_TC;
			break;
		}
		put16(&w, 0xc000 | HEADER_SIZE);
		put16(&w, DNS_TYPE_A);
		put16(&w, CLASS_IN);
		put32(&w, ttl);
		put16(&w, 4);
		put32(&w, addresses[i].address);
		answers++;
	}
	if (rcode == DNS_NOERROR && n_addresses == 0 && query->wire_len) {
		put_soa(&w);
		authority = 1;
	}
	if (query->edns)
		put_opt(&w, extended);
	set16(&w, 2, flags);
	set16(&w, 6, answers);
	set16(&w, 8, authority);
	return w.failed ? -ENOBUFS : (int)w.at;
}
