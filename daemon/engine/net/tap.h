/* SPDX-License-Identifier: Apache-2.0 */
/* tap.h - tap devices that guests' virtio-net is plugged into */
#ifndef ENGINE_TAP_H
#define ENGINE_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct error;

/* Every tap of ours, and no other interface, is named so: the packet filter
 * takes whatever begins with it for a guest's.
 */
#define TAP_PREFIX "sbx"

/**
 * tap_create() - Make a persistent tap, down and without addresses
 * @name:	Begins with TAP_PREFIX
 * @owner:	uid that may attach to it (QEMU's)
 *
 * Takes over one that is there already: then only its owner is set, and not
 * even that while a QEMU has it open. It takes
 * part in no IPv6 when this returns 0; on failure none that was made is left.
 * Needs CAP_NET_ADMIN. Blocks for a few system calls only. link_delete() takes
 * it away again.
 */
int tap_create(const char *name, uint32_t owner, struct error *err);

void tap_name(char ret[IFNAMSIZ], uint32_t number);

/* "sbx<number>", canonical. False: not a tap of ours. */
bool tap_number(const char *name, uint32_t max, uint32_t *ret);

/* One value of net/ipv4/conf or net/ipv6/conf of an interface. -errno. */
int tap_sysctl(int family, const char *name, const char *key,
	       const char *value);

#endif /* ENGINE_TAP_H */
