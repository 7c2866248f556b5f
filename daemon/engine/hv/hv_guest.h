/* SPDX-License-Identifier: Apache-2.0 */
/* hv_guest.h - what every operation on a guest needs: where it is, and its end
 *
 * Above this stand, each calling those before it: hv_whole.c and hv_start.c,
 * which bring guests up; hv_saving.c, hv_whole_save.c, hv_save.c and hv_merge.c,
 * which write snapshots and templates; hv_selftest.c; and hv_libvirt.c, which
 * has the object and the small operations. All block: worker threads.
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

int hv_guest_destroy(struct hv *hv, const char *uuid, struct error *err);
/* The guest's process has ended; libvirt will see it, up to 200 ms later. */
int hv_guest_end(const char *uuid, struct error *err);

void hv_sleep_ms(unsigned int ms);

#endif /* ENGINE_HV_GUEST_H */
