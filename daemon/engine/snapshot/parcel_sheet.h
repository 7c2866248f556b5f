/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_sheet.h - what a snapshot's stream says of itself, checked
 *
 * Pure. Both sandboxd-parcel and the engine check: one has read bytes of
 * anybody's, the other believes nobody.
 */
#ifndef ENGINE_PARCEL_SHEET_H
#define ENGINE_PARCEL_SHEET_H

#include "engine/snapshot/snapshot_manifest.h"
#include "sandbox/ipc/v1/parcel.pb-c.h"

struct error;

#define PARCEL_VERSION	      1u
#define PARCEL_MANIFEST_MAX   (192u << 10) /* bytes: one packet */
#define PARCEL_MEMORY_MIB_MAX (64u << 10)  /* of a guest */
#define PARCEL_DISKS_MAX      60
#define PARCEL_PARTS_MAX      (PARCEL_DISKS_MAX + 5)
#define PARCEL_PART_NAME_MAX  32

typedef Sandbox__Ipc__V1__ParcelManifest ParcelManifest;
typedef Sandbox__Ipc__V1__ParcelPart ParcelPart;
typedef Sandbox__Ipc__V1__ParcelPart__Kind ParcelKind;
typedef Sandbox__Ipc__V1__ParcelPlatform ParcelPlatform;
typedef Sandbox__Ipc__V1__ParcelTemplate ParcelTemplate;
#define PARCEL_KIND(k) SANDBOX__IPC__V1__PARCEL_PART__KIND__KIND_##k

/* For people: "memory", "disk 2". */
const char *parcel_part_name(const ParcelManifest *m, size_t part,
			     char buf[PARCEL_PART_NAME_MAX]);

/* Whether a part is one of the template's. */
bool parcel_part_is_template(const ParcelPart *part);

/**
 * parcel_sheet_check() - Every field within its limits, the parts complete
 * @with_parts:	Not when it is still to be packed
 *
 * Does not look into the specification of the sandbox (spec_check.h).
 * ERR_DATA_LOSS naming the field.
 */
int parcel_sheet_check(const ParcelManifest *m, bool with_parts,
		       struct error *err);

/* Of a checked one. */
void parcel_sheet_platform(const ParcelPlatform *p,
			   struct snapshot_platform *ret);

#endif /* ENGINE_PARCEL_SHEET_H */
