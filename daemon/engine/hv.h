/* SPDX-License-Identifier: Apache-2.0 */
/* hv.h - what the life cycle needs of a hypervisor
 *
 * Implementations: hv_libvirt.c, and tests' fake_hv.c (in memory) and file_hv.c
 * (files that outlive the daemon). Every operation blocks and runs on a worker
 * thread; the object itself is safe to share between workers, and one guest is
 * worked on by one job at a time. Nothing here knows what a sandbox is.
 */
#ifndef ENGINE_HV_H
#define ENGINE_HV_H

#include "engine/slot.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct error;
struct hv;

#define HV_UUID_SIZE 37 /* text with its NUL */
#define SANDBOX_NONCE_LEN 32 /* what a guest's agent knows its node by */
/* Every guest has this MAC: each is alone on its layer 2, and clones of one
 * template cannot differ.
 */
#define HV_GUEST_MAC "52:54:00:53:42:01"

/**
 * struct guest_spec - One guest as the hypervisor sees it
 * @uuid:	Of the domain; its name is "sbx-" and this
 * @slot:	uid, cid, tap
 * @cpu:	vCPUs
 * @memory_mib:	Memory
 * @disk_mib:	Size of the root disk the guest sees
 * @dir:	The guest's own directory (exists, owner slot.uid): disk layer,
 *		console, agent socket, all made here
 * @image_disk:	Read-only raw root disk that the lowest layer stands on
 * @image_digest: Of that disk
 */
struct guest_spec {
	char uuid[HV_UUID_SIZE];
	struct slot slot;
	uint32_t cpu;
	uint32_t memory_mib;
	uint32_t disk_mib;
	char dir[PATH_MAX];
	char image_disk[PATH_MAX];
	char image_digest[80];
};

enum guest_life {
	GUEST_LIFE_UNKNOWN = 0, /* the hypervisor does not answer */
	GUEST_LIFE_GONE,	/* it answers: there is no such guest */
	GUEST_LIFE_RUNNING,
	GUEST_LIFE_STOPPED, /* there, its vCPUs stand still */
};

enum hv_accelerator { HV_ACCEL_NONE = 0, HV_ACCEL_KVM, HV_ACCEL_TCG };

/**
 * struct hv_info - What was found out at start
 */
struct hv_info {
	enum hv_accelerator accelerator;
	bool vsock;	  /* else virtio-serial */
	bool cgroups; /* guests are held to limits (hv_limits.h) */
	/* Else guests boot cold, and libvirt saves and restores all of them.
	 * Taken for granted until it was tested (ops->selftest).
	 */
	bool clones_work, clones_tested;
	char libvirt_version[32];
	char qemu_version[32];
	char kernel_version[96]; /* of guests */
	char cmdline[128];	 /* of their kernel */
	char cpu_model[128];	 /* device state can go to no other */
	uint32_t gid;		 /* of guests' QEMUs: what may map templates */
	bool ram_readonly;	 /* for which they need not write to them */
};

/* Bytes or pages done so far, written by the worker, read by anyone; and a
 * request to stop. NULL where nobody cares.
 */
struct hv_progress {
	_Atomic uint64_t done, total;
	_Atomic bool cancel;
};

/**
 * struct hv_ops - The operations
 * @start:	Start a guest. @template_dir NULL: cold boot from the image.
 *		Else a clone of that template, with @snapshot_dir's pages and
 *		disk when not NULL. @hold: leave it stopped before its state is
 *		loaded (a pool's waiting clone; @release lets it go).
 *		On failure nothing is left behind. Once start or release has
 *		returned, @snapshot_dir may be removed: what the guest's disk
 *		needs of it is linked into @spec->dir
 * @release:	Let a held clone run (with @snapshot_dir's pages if not NULL),
 *		its disk resized to @spec->disk_mib. A guest that stands still
 *		because its save was cut off (by our own end) just runs on
 * @open_agent:	A connected descriptor to the guest's agent port (vsock) or its
 *		serial channel; non-blocking, close-on-exec
 * @save:	Write a snapshot of a running guest into the new directory
 *		@snapshot_dir. Agent frozen and detached before. Commits when
 *		it returns 0: all of it is on disk. @keep_running: the guest
 *		goes on, on a new disk layer; else it is destroyed after the
 *		commit. On failure it runs on, and nothing is left behind
 * @capture:	Make the template @template_dir of a cold-booted guest whose
 *		agent listens; the guest is destroyed either way
 * @wake:	Let a guest's vCPUs run that stand still: of a save or capture
 *		that never ended because the daemon did. Fine when they run.
 *		@snapshot_dir: what that save wrote, removed first if not NULL:
 *		the disk may be sealed for it
 * @destroy:	End it now, whatever it does; also fine when it is gone. Waits
 *		until its process is gone (ERR_UNAVAILABLE after 5 s: what the
 *		kernel still holds is in the message)
 * @life:	How things stand; never fails (UNKNOWN)
 * @list:	uuids of all our guests, malloc'ed array; count or -1
 * @verify:	Check a snapshot against its manifest, all checksums. One whose
 *		save was cut off when all of the guest was on disk already is
 *		finished first
 * @merge:	Make of a snapshot with a long chain of disk layers (more than
 *		DISK_MERGE_AT) the same with one, whole in the new directory
 *		@out_dir, for its caller to exchange the two; *@ret_bytes is what
 *		it takes, 0: the chain is short and nothing was made. Of @spec:
 *		a uid and directory of its own, and the image
 * @selftest:	Whether clones work here, with a small guest (1 vCPU, 256 MiB)
 *		of the names in @spec; its directory exists. 0: they do, and it
 *		is remembered. ERR_CONFLICT: they do not, and it is remembered.
 *		Any other error: could not be found out now
 * @stats:	CPU time in ms; host memory in bytes that is this guest's alone
 *		(NULL: not asked for, and then cheap)
 */
struct hv_ops {
	int (*start)(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, const char *snapshot_dir,
		     bool hold, struct error *err);
	int (*release)(struct hv *hv, const struct guest_spec *spec,
		       const char *template_dir, const char *snapshot_dir,
		       struct error *err);
	int (*open_agent)(struct hv *hv, const struct guest_spec *spec,
			  int *ret_fd, struct error *err);
	int (*save)(struct hv *hv, const struct guest_spec *spec,
		    const char *template_dir, const char *snapshot_dir,
		    bool keep_running, uint64_t *ret_bytes,
		    struct hv_progress *progress, struct error *err);
	int (*capture)(struct hv *hv, const struct guest_spec *spec,
		       const char *template_dir, struct hv_progress *progress,
		       struct error *err);
	int (*wake)(struct hv *hv, const struct guest_spec *spec,
		    const char *snapshot_dir, struct error *err);
	int (*destroy)(struct hv *hv, const char *uuid, struct error *err);
	enum guest_life (*life)(struct hv *hv, const char *uuid);
	int (*list)(struct hv *hv, char (**ret)[HV_UUID_SIZE],
		    struct error *err);
	int (*verify)(struct hv *hv, const char *snapshot_dir,
		      struct error *err);
	int (*merge)(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, const char *snapshot_dir,
		     const char *out_dir, uint64_t *ret_bytes,
		     struct hv_progress *progress, struct error *err);
	int (*selftest)(struct hv *hv, const struct guest_spec *spec,
			struct error *err);
	int (*stats)(struct hv *hv, const char *uuid, uint64_t *ret_cpu_ms,
		     uint64_t *ret_memory, struct error *err);
	void (*free)(struct hv *hv);
};

/* Called on the main thread when a guest may have ended: a hint to look. */
typedef void (*hv_gone_fn)(const char *uuid, void *arg);
/* Called on the main thread when the hypervisor was lost or is back. */
typedef void (*hv_link_fn)(bool up, void *arg);

/* Implementations begin with this. */
struct hv {
	const struct hv_ops *ops;
	struct hv_info info;
};

#endif /* ENGINE_HV_H */
