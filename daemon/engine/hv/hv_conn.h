/* SPDX-License-Identifier: Apache-2.0 */
/* hv_conn.h - the connection to libvirt: kept up, its events brought home */
#ifndef ENGINE_HV_CONN_H
#define ENGINE_HV_CONN_H

#include "engine/hv.h"

#include <libvirt/libvirt.h>

struct error;
struct hv_conn;
struct loop;

/**
 * hv_conn_new() - Begin to connect; returns at once
 * @gone, @link: Called with @arg on the main thread, never from in here
 */
int hv_conn_new(const char *uri, struct loop *loop, hv_gone_fn gone,
		hv_link_fn link, void *arg, struct hv_conn **ret,
		struct error *err);

/* Main thread. Blocks for 2 s at most, when libvirt does not answer. */
struct hv_conn *hv_conn_free(struct hv_conn *conn);

/* A reference of the caller's own; ERR_UNAVAILABLE while there is none. */
int hv_conn_get(struct hv_conn *conn, virConnectPtr *ret, struct error *err);

/* libvirt's version as text; "0.0.0" before it was ever reached. */
void hv_conn_version(struct hv_conn *conn, char *buf, size_t size);

/* Look a guest up: 1 and *@ret (the caller's), 0 there is none, -1. */
int hv_conn_find(struct hv_conn *conn, const char *uuid, virDomainPtr *ret,
		 struct error *err);

/* libvirt's last error on this thread as ours. Returns -1. */
int hv_conn_error(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void hv_conn_unref_domain(virDomainPtr *dom);
void hv_conn_unref_connect(virConnectPtr *conn);

#define _cleanup_domain_  _cleanup_(hv_conn_unref_domain)
#define _cleanup_connect_ _cleanup_(hv_conn_unref_connect)

#endif /* ENGINE_HV_CONN_H */
