/* SPDX-License-Identifier: Apache-2.0 */
/* hv_xml.h - a guest as libvirt's domain XML
 *
 * Pure: no file is looked at. The same options but for @ram_path, @incoming and
 * the layers give the same virtual hardware, which is what makes a clone able
 * to load its template's device state.
 */
#ifndef ENGINE_HV_XML_H
#define ENGINE_HV_XML_H

#include "engine/hv.h"

#include <stddef.h>
#include <stdint.h>

#define HV_XML_LAYERS_MAX 66 /* DISK_LAYERS_MAX, the template's and the image */
/* Names of parts that the monitor is asked about later. */
#define HV_XML_CONSOLE	  "sbxconsole"
#define HV_XML_DISK_QDEV  "/machine/peripheral/virtio-disk0"
#define HV_XML_AGENT_PORT "agent"

/**
 * struct hv_xml_options - What is not the guest's own
 * @accelerator: KVM or TCG
 * @emulator:	QEMU's path
 * @machine:	Versioned machine type ("pc-q35-7.2")
 * @kernel, @initrd, @cmdline: What is booted
 * @gid:	QEMU's group, the same for all guests: what may map templates
 *		(and open /dev/kvm)
 * @vsock:	A vsock device with the slot's cid; else a virtio-serial port
 * @ram_path:	File that guest memory is a private mapping of
 * @ram_readonly: QEMU can map it without opening it for writing (>= 8.2)
 * @incoming:	Wait for device state before running
 * @layers:	Paths of the disk's layers: the writable one first, the last one
 *		raw, all others qcow2. What their headers say of each other is
 *		not used: QEMU can write headers
 */
struct hv_xml_options {
	enum hv_accelerator accelerator;
	const char *emulator;
	const char *machine;
	const char *kernel, *initrd, *cmdline;
	uint32_t gid;
	bool vsock;
	const char *ram_path;
	bool ram_readonly;
	bool incoming;
	const char *const *layers;
	size_t n_layers;
};

/* Return: 0 and the text, the caller's to free; or -1 (ERR_INVALID) when a
 * path has characters that XML cannot carry.
 */
int hv_xml_build(const struct guest_spec *spec,
		 const struct hv_xml_options *opt, char **ret,
		 struct error *err);

#endif /* ENGINE_HV_XML_H */
