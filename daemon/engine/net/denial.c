/* SPDX-License-Identifier: Apache-2.0 */
/* denial.c - the last things that each guest was refused
 *
 * A ring a slot, made with the first denial: most guests never have one. A
 * program that tries again and again makes one entry that counts.
 */
#include "engine/net/denial.h"

#include "base/mem.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ring {
	struct net_denial entries[NET_DENIALS_MAX];
	size_t n, next; /* next: where the next one goes */
	uint64_t total;
	int64_t event_ms;
};

struct denials {
	struct ring *rings[SLOT_MAX];
};

struct denials *denials_new(void)
{
	return xcalloc(1, sizeof(struct denials));
}

struct denials *denials_free(struct denials *denials)
{
	if (!denials)
		return NULL;
	for (uint32_t i = 0; i < SLOT_MAX; i++)
		free(denials->rings[i]);
	free(denials);
	return NULL;
}

static const char *protocol_name(uint8_t protocol, char buf[8])
{
	switch (protocol) {
	case 0:
		return "dns";
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	default:
		snprintf(buf, 8, "%u", protocol);
		return buf;
	}
}

/* The entry @age steps back; 0 is the newest. */
static struct net_denial *back(struct ring *ring, size_t age)
{
	return &ring->entries[(ring->next + NET_DENIALS_MAX - 1 - age) %
			      NET_DENIALS_MAX];
}

static struct net_denial *find_same(struct ring *ring,
				    const struct net_denial *d)
{
	for (size_t age = 0; age < ring->n; age++) {
		struct net_denial *e = back(ring, age);

		if (d->time_ms - e->time_ms > DENIAL_MERGE_MS)
			break;
		if (e->port == d->port && !strcmp(e->target, d->target) &&
		    !strcmp(e->address, d->address) &&
		    !strcmp(e->protocol, d->protocol) &&
		    !strcmp(e->rule, d->rule))
			return e;
	}
	return NULL;
}

bool denials_add(struct denials *denials, uint32_t slot, const char *target,
		 const char *address, uint16_t port, uint8_t protocol,
		 const char *rule, int64_t now_ms, struct net_denial *ret)
{
	struct net_denial d = { .time_ms = now_ms, .port = port, .count = 1 };
	struct net_denial *same;
	struct ring *ring;
	char number[8];

	if (slot >= SLOT_MAX)
		return false;
	if (!denials->rings[slot])
		denials->rings[slot] = xcalloc(1, sizeof(struct ring));
	ring = denials->rings[slot];
	ring->total++;
	snprintf(d.target, sizeof(d.target), "%s", target);
	snprintf(d.address, sizeof(d.address), "%s", address);
	snprintf(d.protocol, sizeof(d.protocol), "%s",
		 protocol_name(protocol, number));
	snprintf(d.rule, sizeof(d.rule), "%s", rule);
	same = find_same(ring, &d);
	if (same) {
		same->count++;
		if (ret)
			*ret = *same;
		return false;
	}
	ring->entries[ring->next] = d;
	ring->next = (ring->next + 1) % NET_DENIALS_MAX;
	if (ring->n < NET_DENIALS_MAX)
		ring->n++;
	if (ret)
		*ret = d;
	if (now_ms - ring->event_ms < 1000 / DENIAL_EVENTS_PER_S)
		return false;
	ring->event_ms = now_ms;
	return true;
}

size_t denials_get(const struct denials *denials, uint32_t slot,
		   struct net_denial ret[NET_DENIALS_MAX])
{
	struct ring *ring = slot < SLOT_MAX ? denials->rings[slot] : NULL;

	if (!ring)
		return 0;
	for (size_t age = 0; age < ring->n; age++)
		ret[age] = *back(ring, age);
	return ring->n;
}

uint64_t denials_total(const struct denials *denials, uint32_t slot)
{
	return slot < SLOT_MAX && denials->rings[slot]
		       ? denials->rings[slot]->total
		       : 0;
}

void denials_clear(struct denials *denials, uint32_t slot)
{
	if (slot >= SLOT_MAX)
		return;
	free(denials->rings[slot]);
	denials->rings[slot] = NULL;
}
