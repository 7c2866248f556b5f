/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - sandboxd-parcel's end of the socket to the engine; blocks */
#ifndef PARCEL_CONTROL_H
#define PARCEL_CONTROL_H

#include "engine/snapshot/parcel_sheet.h"

#include <stddef.h>
#include <stdint.h>

struct error;

#define PARCEL_FDS_MAX (PARCEL_PARTS_MAX + 1)

/**
 * struct parcel_control - The socket, and how far things are
 * @last_ms:	When progress was told last
 */
struct parcel_control {
	int fd;
	uint64_t done, total, last_ms;
};

/**
 * struct parcel_order - An order with its descriptors
 */
struct parcel_order {
	Sandbox__Ipc__V1__ParcelOrder *msg;
	int fds[PARCEL_FDS_MAX];
	size_t n_fds;
};

int parcel_control_order(struct parcel_control *c, struct parcel_order *ret,
			 struct error *err);
void parcel_order_fini(struct parcel_order *order);

/* The process ends when nobody listens. */
void parcel_control_report(struct parcel_control *c,
			   const Sandbox__Ipc__V1__ParcelReport *report);
void parcel_control_failure(struct parcel_control *c, const struct error *err);
void parcel_control_done(struct parcel_control *c);
/* Count @n more bytes; tells the engine now and then. */
void parcel_control_count(struct parcel_control *c, uint64_t n);

#endif /* PARCEL_CONTROL_H */
