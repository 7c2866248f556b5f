/* SPDX-License-Identifier: Apache-2.0 */
/* pack.h - a snapshot's files into one stream */
#ifndef PARCEL_PACK_H
#define PARCEL_PACK_H

#include "parcel/control.h"

/* What the two ends of zstd agree on: 128 MiB, which `zstd -d` takes. */
#define PARCEL_WINDOW_LOG 27

/* Take an order and write all it names, compressed, to @stream. */
int parcel_pack(struct parcel_control *control, int stream, struct error *err);

#endif /* PARCEL_PACK_H */
