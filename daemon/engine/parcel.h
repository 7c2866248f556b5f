/* SPDX-License-Identifier: Apache-2.0 */
/* parcel.h - snapshots that go to other nodes, and come from them
 *
 * The stream is packed and unpacked by sandboxd-parcel, one process a stream,
 * without privileges: not a byte of it is parsed here. Main thread only.
 */
#ifndef ENGINE_PARCEL_H
#define ENGINE_PARCEL_H

#include <stdbool.h>

struct call;
struct engine;
struct error;
struct snapshot;

#define PARCEL_EXPORTS_MAX 4 /* at a time */
#define PARCEL_IMPORTS_MAX 2
/* What is not imported yet, in snapshots/; removed at the next start. */
#define PARCEL_STAGING ".import-"

/* The call, with its stream, is taken over on success. */
int parcel_export(struct engine *e, struct snapshot *snapshot,
		  struct call *call, struct error *err);
int parcel_import(struct engine *e, struct call *call, struct error *err);

/* Whether a directory of snapshots/ or templates/ is an import's. */
bool parcel_is_known(struct engine *e, const char *name);

/* Ends them without a word: all, or only what goes out. */
void parcels_free(struct engine *e);
void parcel_exports_free(struct engine *e);

#endif /* ENGINE_PARCEL_H */
