/* SPDX-License-Identifier: Apache-2.0 */
/* hv_saving.h - one save under way, and what both ways to save do alike */
#ifndef ENGINE_HV_SAVING_H
#define ENGINE_HV_SAVING_H

#include "base/laps.h"
#include "engine/hv/hv_guest.h"
#include "engine/snapshot/mem_pages.h"
#include "engine/snapshot/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

struct error;

/**
 * struct saving - One save or capture under way
 * @out, @out_fd: The new directory
 * @layers:	Sealed layers the guest has
 * @out_layers:	Number of the highest one in the new directory
 * @active:	Name of the one it writes
 * @m:		Manifest as it grows
 * @keep_out:	The directory has the only copy of the guest
 */
struct saving {
	struct hv_libvirt *lv;
	const struct guest_spec *spec;
	const char *template_dir;
	const char *out;
	int dir_fd, out_fd;
	virDomainPtr dom;
	struct qemu_proc proc;
	struct mem_map map;
	struct page_runs runs;
	unsigned int layers, out_layers;
	char active[32];
	struct snapshot_manifest *m;
	bool keep_out;
	struct laps laps;
};

/* Look the guest up. saving_fini() in any case. */
int saving_init(struct saving *s, struct hv *hv, const struct guest_spec *spec,
		const char *template_dir, const char *out,
		enum snapshot_kind kind, struct error *err);
void saving_fini(struct saving *s);

/* The new directory: made, or there and empty of a manifest. */
int saving_make_out(struct saving *s, struct error *err);
void saving_remove_out(const struct saving *s);

/* The guest stands still; and runs on, with a disk that is its own again. */
int saving_stop_guest(const struct saving *s, struct error *err);
void saving_run_on(struct saving *s);

/* The guest's sealed layers and the one it writes, by second names. */
int saving_link_disk(struct saving *s, struct error *err);

/* A long chain becomes one layer. That it does not is no reason to fail. */
void saving_merge_layers(struct saving *s);

/* Layers 0..@layers of the new directory, the last one sealed now. */
int saving_add_disks(int out_fd, unsigned int layers,
		     struct snapshot_manifest *m, struct error *err);
/* Bring up the guest, which is gone, from the snapshot made of it. */
int saving_start_again(struct saving *s, struct error *err);
uint64_t saving_bytes(const struct snapshot_manifest *m);

#endif /* ENGINE_HV_SAVING_H */
