/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.h - a stream into a snapshot's files */
#ifndef PARCEL_UNPACK_H
#define PARCEL_UNPACK_H

#include "parcel/control.h"

/* Report the manifest of what comes from @stream, take the order, and write
 * what it wants. 0 when all was read and verified.
 */
int parcel_unpack(struct parcel_control *control, int stream,
		  struct error *err);

#endif /* PARCEL_UNPACK_H */
