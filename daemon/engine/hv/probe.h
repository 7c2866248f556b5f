/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - what this host's QEMU can do, found out by doing it
 *
 * /dev/kvm may be there, answer, and run no guest. So a guest is booted, once,
 * and what came of it is kept in the state directory for as long as host
 * kernel, CPU and QEMU are the same.
 */
#ifndef ENGINE_PROBE_H
#define ENGINE_PROBE_H

#include "engine/hv.h"

#include <stddef.h>
#include <stdint.h>

struct error;

enum probe_wish { PROBE_AUTO = 0, PROBE_KVM, PROBE_TCG };

/**
 * struct probe_result - What was found
 * @accelerator: KVM or TCG, never NONE
 * @qemu_version: "7.2.22"
 * @machine:	Versioned machine type for guests, "pc-q35-7.2"
 * @cpu_model:	What a guest's CPU depends on, for a template's identity
 * @ram_readonly: QEMU maps memory without opening it for writing
 */
struct probe_result {
	enum hv_accelerator accelerator;
	char qemu_version[32];
	char machine[32];
	char cpu_model[128];
	bool ram_readonly;
};

/**
 * probe_run() - Find out
 * @wish:	AUTO tries KVM, then takes TCG and says so in the log
 * @patience_ms: For the first guest, if wish is KVM
 *
 * Blocks: up to 5 s the first time; for KVM up to @patience_ms, at most 150 s (the
 * unit starts within 180), and again at each start until it works.
 *
 * Return: 0, or -1: no usable QEMU, or KVM was asked for and does not work
 */
int probe_run(enum probe_wish wish, uint64_t patience_ms, const char *qemu,
	      const char *kernel, const char *state_dir,
	      struct probe_result *ret, struct error *err);

/* Pure parts. 0 or -EINVAL. */
int probe_parse_version(const char *text, struct probe_result *ret);
/* Whether a console's text shows that the kernel came as far as it can. */
bool probe_has_booted(const char *console);

#endif /* ENGINE_PROBE_H */
