/* SPDX-License-Identifier: Apache-2.0 */
/* netcfg.h - the guest's network, said to the kernel by rtnetlink
 *
 * No tool in the image is needed, and none is asked.
 */
#ifndef AGENT_NETCFG_H
#define AGENT_NETCFG_H

#include <stdbool.h>
#include <stdint.h>

struct error;

/**
 * struct netcfg - What eth0 should be
 * @address:	Network order; 0: down, without addresses
 * @gateway:	Network order; 0: no default route
 * @mtu:	0: as it is
 */
struct netcfg {
	uint32_t address, gateway;
	uint32_t mtu;
	bool has_mac, has_gateway_mac;
	uint8_t mac[6], gateway_mac[6];
};

/* Bring lo up. Needs no eth0. */
int netcfg_loopback(struct error *err);

/* Make eth0 so. Addresses that are not wanted any more are removed, the wanted
 * one is kept if it is there: its connections go on.
 */
int netcfg_apply(const struct netcfg *cfg, struct error *err);

#endif /* AGENT_NETCFG_H */
