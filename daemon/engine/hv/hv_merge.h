/* SPDX-License-Identifier: Apache-2.0 */
/* hv_merge.h - a snapshot with one disk layer: see struct hv_ops */
#ifndef ENGINE_HV_MERGE_H
#define ENGINE_HV_MERGE_H

#include "engine/hv/hv_guest.h"

int hv_guest_merge(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   const char *out_dir, uint64_t *ret_bytes,
		   struct hv_progress *progress, struct error *err);

#endif /* ENGINE_HV_MERGE_H */
