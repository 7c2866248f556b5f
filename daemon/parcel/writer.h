/* SPDX-License-Identifier: Apache-2.0 */
/* writer.h - a snapshot's stream, put together
 *
 * The sections of reader.h, in order, into a function that takes bytes.
 */
#ifndef PARCEL_WRITER_H
#define PARCEL_WRITER_H

#include "engine/snapshot/parcel_sheet.h"

#include <stddef.h>
#include <stdint.h>

struct error;
struct parcel_writer;

typedef int (*parcel_sink_fn)(const void *data, size_t len, void *arg,
			      struct error *err);

/* Head and manifest are written at once; NULL on failure. */
struct parcel_writer *parcel_writer_new(const ParcelManifest *m,
					parcel_sink_fn sink, void *arg,
					struct error *err);
struct parcel_writer *parcel_writer_free(struct parcel_writer *w);

/* Parts come in the manifest's order, each with exactly its size of bytes. */
int parcel_writer_part(struct parcel_writer *w, struct error *err);
int parcel_writer_bytes(struct parcel_writer *w, const void *data, size_t len,
			struct error *err);
int parcel_writer_part_end(struct parcel_writer *w, struct error *err);
/* After the last part. */
int parcel_writer_end(struct parcel_writer *w, struct error *err);

#endif /* PARCEL_WRITER_H */
