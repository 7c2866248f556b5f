/* SPDX-License-Identifier: Apache-2.0 */
/* hv_selftest.h - whether guests can be cloned here: see struct hv_ops */
#ifndef ENGINE_HV_SELFTEST_H
#define ENGINE_HV_SELFTEST_H

#include "engine/hv/hv_guest.h"

int hv_guest_selftest(struct hv *hv, const struct guest_spec *spec,
		      struct error *err);
/* What is remembered of it: 1 it works, 0 it does not, -1 not tested. */
int hv_guest_selftest_known(const struct hv_libvirt *lv);

#endif /* ENGINE_HV_SELFTEST_H */
