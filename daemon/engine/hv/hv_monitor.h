/* SPDX-License-Identifier: Apache-2.0 */
/* hv_monitor.h - what we ask of a guest's QEMU past libvirt
 *
 * All block for round trips through libvirt; worker threads. A guest's QEMU is
 * not trusted: its replies are bounded, parsed and used for nothing but what is
 * said here.
 */
#ifndef ENGINE_HV_MONITOR_H
#define ENGINE_HV_MONITOR_H

#include <libvirt/libvirt.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Device state, without memory, of a stopped guest into the file @fd (open for
 * reading and writing, empty).
 */
int hv_monitor_save_state(virDomainPtr dom, int fd, struct error *err);

/* Have a waiting QEMU load device state from @fd (at its start); returns when
 * it has, the guest stopped, ready to run.
 */
int hv_monitor_load_state(virDomainPtr dom, int fd, struct error *err);

/* Whether it waits for device state: 1, 0 or -1. */
int hv_monitor_is_waiting(virDomainPtr dom, struct error *err);

/* Which layer the guest writes: the number that replace_disk or add_layer was
 * given; -1 in *@ret: the disk that it was started with.
 */
int hv_monitor_disk_number(virDomainPtr dom, int *ret, struct error *err);

/* Tell the guest that its disk is this many bytes (growing it if it is not). */
int hv_monitor_resize_disk(virDomainPtr dom, uint64_t size, struct error *err);

/* Put the chain of layers (writable one first, a raw one last) in the place of
 * the disk of a QEMU that waits for its state. @number: the writable one's.
 */
int hv_monitor_replace_disk(virDomainPtr dom, const char *const *layers,
			    size_t n_layers, unsigned int number,
			    struct error *err);

/* Let a stopped guest write to the new empty layer @path, the @number'th; what
 * it wrote to is read-only from then on. 1: nobody knows whether it does; the
 * file must stay.
 */
int hv_monitor_add_layer(virDomainPtr dom, const char *path,
			 unsigned int number, struct error *err);

/* The last of what the guest said on its console, NUL-terminated, any bytes. */
int hv_monitor_console(virDomainPtr dom, char *buf, size_t size,
		       struct error *err);

#endif /* ENGINE_HV_MONITOR_H */
