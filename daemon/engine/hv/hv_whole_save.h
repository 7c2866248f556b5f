/* SPDX-License-Identifier: Apache-2.0 */
/* hv_whole_save.h - a guest saved by libvirt, all of its memory
 *
 * For hosts whose QEMU cannot be cloned. libvirt's own file is neither durable
 * nor compressed nor for another guest's name; around it there is what a
 * snapshot has: a checksum, a commit, a disk layer of its own.
 */
#ifndef ENGINE_HV_WHOLE_SAVE_H
#define ENGINE_HV_WHOLE_SAVE_H

#include "engine/hv/hv_saving.h"

struct error;
struct hv_progress;

/**
 * hv_whole_save() - Save a stopped guest into the directory made for it
 *
 * 0: all is on disk, and the guest is gone or, with @keep_running, was brought
 * up again from there. -1: it stands as before, to be let run; or, with
 * s->keep_out, it could not be brought up again and the directory must stay.
 */
int hv_whole_save(struct saving *s, bool keep_running, uint64_t *ret_bytes,
		  struct hv_progress *progress, struct error *err);

/**
 * hv_whole_finish() - Finish a save whose daemon ended in the middle
 *
 * Waits for libvirt's part if that is still under way. 0: done, or there was
 * nothing to do; ERR_NOT_FOUND: it did not come that far, the guest is there.
 */
int hv_whole_finish(struct hv_libvirt *lv, const char *snapshot_dir,
		    struct error *err);

#endif /* ENGINE_HV_WHOLE_SAVE_H */
