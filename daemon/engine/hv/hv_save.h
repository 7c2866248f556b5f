/* SPDX-License-Identifier: Apache-2.0 */
/* hv_save.h - snapshots of running guests, and templates: see struct hv_ops */
#ifndef ENGINE_HV_SAVE_H
#define ENGINE_HV_SAVE_H

#include "engine/hv/hv_guest.h"

int hv_guest_save(struct hv *hv, const struct guest_spec *spec,
		  const char *template_dir, const char *snapshot_dir,
		  bool keep_running, uint64_t *ret_bytes,
		  struct hv_progress *progress, struct error *err);
int hv_guest_capture(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, struct hv_progress *progress,
		     struct error *err);
int hv_guest_verify(struct hv *hv, const char *snapshot_dir,
		    struct error *err);

#endif /* ENGINE_HV_SAVE_H */
