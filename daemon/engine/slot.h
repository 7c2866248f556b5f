/* SPDX-License-Identifier: Apache-2.0 */
/* slot.h - the numbered set of host resources that one guest occupies
 *
 * A slot's number decides every name and number that the host knows a guest by,
 * so that what a crash leaves behind can be found again. A waiting clone in a
 * pool has a slot already; the sandbox that takes the clone takes its slot.
 */
#ifndef ENGINE_SLOT_H
#define ENGINE_SLOT_H

#include <net/if.h>
#include <stdint.h>

#define SLOT_MAX 8192u /* of one node: addresses are from a /19 at least */

/* "SB", so that no other program's marks are taken for ours. */
#define SLOT_MARK_BASE 0x53420000u

/**
 * struct slot - What follows from a slot's number
 * @number:	0..SLOT_MAX-1
 * @uid:	QEMU's uid and gid, [guest] uid_base + number
 * @cid:	vsock context id, [guest] cid_base + number; 0: serial link
 * @tap:	"sbx<number>"
 * @address:	The guest's IPv4 address, host order
 * @mark:	conntrack mark: SLOT_MARK_BASE + number
 */
struct slot {
	uint32_t number;
	uint32_t uid;
	uint32_t cid;
	char tap[IFNAMSIZ];
	uint32_t address;
	uint32_t mark;
};

#endif /* ENGINE_SLOT_H */
