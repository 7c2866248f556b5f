/* SPDX-License-Identifier: Apache-2.0 */
/* hv_guest.h - the parts that hv_libvirt.c is made of share this
 *
 * hv_libvirt.c has the object and the small operations, hv_start.c brings
 * guests up, hv_save.c writes snapshots and templates.
 */
#ifndef ENGINE_HV_GUEST_H
#define ENGINE_HV_GUEST_H

#include "engine/hv.h"
#include "engine/hv/hv_conn.h"
#include "engine/hv/hv_xml.h"
#include "engine/hv/probe.h"
#include "engine/hv/qemu_proc.h"

#include <semaphore.h>
#include <stddef.h>

struct error;
struct snapshot_platform;

#define GUEST_EMPTY_RAM	  "empty.ram" /* memory of a guest without template */
#define GUEST_AGENT_SOCK  "agent.sock"
#define GUEST_RESTORE_FILE "restore.save" /* what libvirt is given, for a moment */
#define GUEST_GONE_WAIT_MS 5000
/* libvirtd serves 5 requests of a client at a time and then reads nothing more
 * from it, not even that it is alive: after 30 s it cuts the connection. Starts
 * may take long (AppArmor compiles a profile for each), so some room is left.
 */
#define HV_STARTS_MAX 3

struct hv_libvirt {
	struct hv base;
	struct hv_conn *conn;
	struct loop *loop;
	hv_gone_fn gone;
	hv_link_fn link;
	void *arg;
	struct probe_result probe;
	char *qemu, *qemu_img, *kernel, *initrd, *cmdline, *kernel_version;
	char *state_dir;
	uint32_t gid;
	unsigned int workers;
	uint32_t disk_mbps, disk_iops; /* hv_limits.h */
	sem_t starts; /* HV_STARTS_MAX of them at once */
};

/* hv_start.c: see struct hv_ops. */
int hv_guest_start(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   bool hold, struct error *err);
int hv_guest_release(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, const char *snapshot_dir,
		     struct error *err);
int hv_guest_wake(struct hv *hv, const struct guest_spec *spec,
		  const char *snapshot_dir, struct error *err);

/* The guest's directory, checked to be one; a descriptor or -1. */
int hv_guest_open_dir(const struct guest_spec *spec, struct error *err);

/* Which layer a guest's QEMU writes, how many are sealed below it; settled. */
int hv_guest_layers(virDomainPtr dom, const struct guest_spec *spec, int dir_fd,
		    char *active, size_t size, unsigned int *ret,
		    struct error *err);

/* The process of a running guest, under its slot's uid; or -1. */
int hv_guest_open_proc(const struct guest_spec *spec, struct qemu_proc *ret,
		       struct error *err);

/* What device state made here, or loaded here, depends on. */
void hv_guest_platform(const struct hv_libvirt *lv,
		       const struct guest_spec *spec,
		       struct snapshot_platform *ret);

/* The file that the guest's memory is a private mapping of. */
void hv_guest_ram_path(const struct guest_spec *spec, const char *template_dir,
		       char ret[PATH_MAX]);

/* hv_save.c */
int hv_guest_save(struct hv *hv, const struct guest_spec *spec,
		  const char *template_dir, const char *snapshot_dir,
		  bool keep_running, uint64_t *ret_bytes,
		  struct hv_progress *progress, struct error *err);
int hv_guest_capture(struct hv *hv, const struct guest_spec *spec,
		     const char *template_dir, struct hv_progress *progress,
		     struct error *err);
int hv_guest_verify(struct hv *hv, const char *snapshot_dir,
		    struct error *err);

/* hv_merge.c */
int hv_guest_merge(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   const char *out_dir, uint64_t *ret_bytes,
		   struct hv_progress *progress, struct error *err);

/* hv_selftest.c */
int hv_guest_selftest(struct hv *hv, const struct guest_spec *spec,
		      struct error *err);
/* What is remembered of it: 1 it works, 0 it does not, -1 not tested. */
int hv_guest_selftest_known(const struct hv_libvirt *lv);

/* hv_libvirt.c */
int hv_guest_destroy(struct hv *hv, const char *uuid, struct error *err);
/* The guest's process has ended; libvirt will see it, up to 200 ms later. */
int hv_guest_end(const char *uuid, struct error *err);

#endif /* ENGINE_HV_GUEST_H */
