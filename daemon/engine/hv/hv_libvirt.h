/* SPDX-License-Identifier: Apache-2.0 */
/* hv_libvirt.h - guests as libvirt domains: hv.h over libvirt and QEMU */
#ifndef ENGINE_HV_LIBVIRT_H
#define ENGINE_HV_LIBVIRT_H

#include "engine/hv.h"
#include "engine/hv/probe.h"

#include <stddef.h>

struct error;
struct loop;

enum hv_vsock_wish { HV_VSOCK_AUTO = 0, HV_VSOCK_YES, HV_VSOCK_NO };

/* How guests are saved: AUTO clones where a self-test has shown that it works. */
enum hv_mechanism_wish {
	HV_MECHANISM_AUTO = 0,
	HV_MECHANISM_CLONE,
	HV_MECHANISM_LIBVIRT,
};

/**
 * struct hv_libvirt_config - Where things are and what is wanted
 * @uri:	libvirt's, for example "qemu:///system"
 * @accelerator, @vsock: AUTO finds out
 * @probe_ms:	How long a guest may boot where KVM is asked for (probe.h)
 * @qemu, @qemu_img: Paths; NULL: /usr/bin/qemu-system-x86_64, /usr/bin/qemu-img
 * @kernel, @initrd, @cmdline: What guests boot; emulated ones with "norandmaps"
 * @kernel_version: Identifies @kernel and @initrd (the agent is in it)
 * @state_dir:	For what is remembered
 * @gid:	Group of all guests' QEMU: what may map templates. Under KVM the
 *		group of /dev/kvm is taken instead where only that may open it
 * @workers:	Threads that one save or resume may use; 0: one a CPU, at most 8
 * @disk_mbps, @disk_iops: Of one guest in each direction; 0: not limited
 *
 * All are copied.
 */
struct hv_libvirt_config {
	const char *uri;
	enum probe_wish accelerator;
	uint64_t probe_ms;
	enum hv_vsock_wish vsock;
	enum hv_mechanism_wish mechanism;
	const char *qemu, *qemu_img;
	const char *kernel, *initrd, *cmdline;
	const char *kernel_version;
	const char *state_dir;
	uint32_t gid;
	unsigned int workers;
	uint32_t disk_mbps, disk_iops;
};

/**
 * hv_libvirt_new() - Probe the host and begin to connect
 * @gone, @link: See hv.h; called with @arg on the main thread, later
 *
 * Blocks for the probe, not for libvirt: until link(true) operations fail with
 * ERR_UNAVAILABLE and info.libvirt_version is empty.
 *
 * Return: 0 and the object, freed through ops->free; or -1
 */
int hv_libvirt_new(const struct hv_libvirt_config *config, struct loop *loop,
		   hv_gone_fn gone, hv_link_fn link, void *arg,
		   struct hv **ret, struct error *err);

/* The last of what a guest said on its console (any bytes), for people. */
int hv_libvirt_console(struct hv *hv, const char *uuid, char *buf, size_t size,
		       struct error *err);

#endif /* ENGINE_HV_LIBVIRT_H */
