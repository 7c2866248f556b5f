/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_proc.h - one run of sandboxd-parcel
 *
 * Main thread only. What the process says is checked as any peer's; it is ended
 * when it breaks the rules, or when nothing moves for PARCEL_STALL_MS.
 */
#ifndef ENGINE_PARCEL_PROC_H
#define ENGINE_PARCEL_PROC_H

#include "engine/snapshot/parcel_sheet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct loop;
struct parcel_proc;

#define PARCEL_STALL_MS 120000u

/**
 * struct parcel_proc_ops - What the owner hears
 * @manifest:	Unpacking: what is to come; borrowed. Answer by an order, now
 *		or later. NULL when packing
 * @ended:	Once, last, never from within parcel_proc_start(): NULL when all
 *		was done. The owner frees it, then or later
 */
struct parcel_proc_ops {
	void (*manifest)(const ParcelManifest *m, void *arg);
	void (*ended)(const struct error *err, void *arg);
};

/**
 * struct parcel_proc_config - What to run
 * @program:	Path of sandboxd-parcel
 * @uid, @gid:	Whom it turns into; uid 0: it stays who the engine is (tests)
 * @stream:	The stream; borrowed
 */
struct parcel_proc_config {
	const char *program;
	uid_t uid;
	gid_t gid;
	bool pack;
	int stream;
};

int parcel_proc_start(struct loop *loop,
		      const struct parcel_proc_config *config,
		      const struct parcel_proc_ops *ops, void *arg,
		      struct parcel_proc **ret, struct error *err);

/* For tests that play it: nothing is started, and @ended never comes. Each packet
 * is as one of its reports. -1: it broke the rules.
 */
struct parcel_proc *parcel_proc_new(bool pack,
				    const struct parcel_proc_ops *ops,
				    void *arg);
int parcel_proc_packet(struct parcel_proc *proc, const uint8_t *data,
		       size_t len, struct error *err);

/* Descriptors are borrowed; their number is filled in. */
int parcel_proc_order(struct parcel_proc *proc,
		      Sandbox__Ipc__V1__ParcelOrder *order, const int *fds,
		      size_t n_fds, struct error *err);

/* No file that it writes may become larger than this. */
void parcel_proc_limit(struct parcel_proc *proc, uint64_t file_max);

/* End it; @ended comes, with @why. */
void parcel_proc_stop(struct parcel_proc *proc, const struct error *why);

/* At once, without a word. NULL is fine. */
struct parcel_proc *parcel_proc_free(struct parcel_proc *proc);

#endif /* ENGINE_PARCEL_PROC_H */
