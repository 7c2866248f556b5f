/* SPDX-License-Identifier: Apache-2.0 */
/* hv_start.h - bring guests up: see struct hv_ops */
#ifndef ENGINE_HV_START_H
#define ENGINE_HV_START_H

#include "engine/hv/hv_guest.h"

int hv_guest_start(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   bool hold, struct error *err);
int hv_guest_release(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, const char *snapshot_dir,
		     struct error *err);
int hv_guest_wake(struct hv *hv, const struct guest_spec *spec,
		  const char *snapshot_dir, struct error *err);

#endif /* ENGINE_HV_START_H */
