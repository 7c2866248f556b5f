/* SPDX-License-Identifier: Apache-2.0 */
/* hv_whole.h - what libvirt writes when it saves a guest, packed and put back
 */
#ifndef ENGINE_HV_WHOLE_H
#define ENGINE_HV_WHOLE_H

#include "engine/hv/hv_guest.h"

#include <libvirt/libvirt.h>
#include <stdbool.h>

struct error;

/* Bring up the saved guest as the domain @xml, stopped; it is @spec's. */
int hv_whole_restore(virConnectPtr conn, const struct guest_spec *spec,
		     int snapshot_fd, const char *xml, virDomainPtr *ret,
		     struct error *err);

/* ---- libvirt's file, without libvirt ---- */

/* Whether libvirt finished the file at @fd, at its start. */
bool hv_whole_is_complete(int fd);

/* From libvirt's file at @from, at its start, to the empty file @to: without
 * its XML, compressed on @threads.
 */
int hv_whole_pack(int from, int to, unsigned int threads, struct error *err);

/* And back, with @xml in it. ERR_DATA_LOSS: it is altered. */
int hv_whole_unpack(int from, int to, const char *xml, struct error *err);

#endif /* ENGINE_HV_WHOLE_H */
