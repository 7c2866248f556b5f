/* SPDX-License-Identifier: Apache-2.0 */
/* hv_monitor.c - what we ask of a guest's QEMU past libvirt
 *
 * Theory of operation
 * ===================
 *
 * libvirt has no call for device state without memory. Its monitor passthrough
 * does, and takes descriptors, so QEMU needs no right to any path: state is
 * written to and read from a descriptor of ours. libvirt ignores the migration
 * events this causes, since it has no job of its own that they belong to.
 */
#include "engine/hv/hv_monitor.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/hv/hv_conn.h"
#include "engine/hv/hv_xml.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <libvirt/libvirt-qemu.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOAD_TIMEOUT_MS 20000
#define POLL_FIRST_US	500
#define POLL_MAX_US	2000
#define STATE_FDSET	77 /* ours alone: libvirt counts from 0 */

static void json_put(json_object **obj)
{
	if (*obj)
		json_object_put(*obj);
}

#define _cleanup_json_ _cleanup_(json_put)

static int parse_reply(const char *what, const char *text, json_object **ret,
		       struct error *err)
{
	_cleanup_json_ json_object *reply = json_tokener_parse(text);
	json_object *part, *desc;

	if (!reply || !json_object_is_type(reply, json_type_object))
		return err_set(err, ERR_INTERNAL, "QEMU's answer to %s", what);
	if (json_object_object_get_ex(reply, "error", &part)) {
		const char *why = "no reason given";

		if (json_object_object_get_ex(part, "desc", &desc))
			why = json_object_get_string(desc);
		return err_set(err, ERR_INTERNAL, "QEMU refused %s: %s", what,
			       why);
	}
	if (ret && json_object_object_get_ex(reply, "return", &part))
		*ret = json_object_get(part);
	return 0;
}

/* Consumes @args (NULL: none). @ret NULL: the answer does not matter. */
static int command(virDomainPtr dom, const char *name, json_object *args,
		   int fd, json_object **ret, struct error *err)
{
	_cleanup_json_ json_object *cmd = json_object_new_object();
	_cleanup_free_ char *reply = NULL;
	const char *text;
	int r;

	json_object_object_add(cmd, "execute", json_object_new_string(name));
	if (args)
		json_object_object_add(cmd, "arguments", args);
	text = json_object_to_json_string_ext(cmd, JSON_C_TO_STRING_PLAIN);
	if (fd >= 0)
		r = virDomainQemuMonitorCommandWithFiles(
			dom, text, 1, (int[]){ fd }, NULL, NULL, &reply, 0);
	else
		r = virDomainQemuMonitorCommand(dom, text, &reply, 0);
	if (r < 0)
		return hv_conn_error(err, "ask QEMU for %s", name);
	return parse_reply(name, reply, ret, err);
}

static json_object *args_new(const char *key, const char *value)
{
	json_object *args = json_object_new_object();

	json_object_object_add(args, key, json_object_new_string(value));
	return args;
}

int hv_monitor_save_state(virDomainPtr dom, int fd, struct error *err)
{
	_cleanup_close_ int write_fd = -EBADF;
	struct error ignored;
	json_object *args;
	char path[64];
	int rc;

	/* QEMU opens a set's member of exactly the mode it wants. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	write_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (write_fd < 0)
		return err_sys(err, errno, "open a file for device state");
	args = json_object_new_object();
	json_object_object_add(args, "fdset-id",
			       json_object_new_int(STATE_FDSET));
	if (command(dom, "add-fd", args, write_fd, NULL, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "/dev/fdset/%d", STATE_FDSET);
	args = args_new("filename", path);
	json_object_object_add(args, "live", json_object_new_boolean(0));
	rc = command(dom, "xen-save-devices-state", args, -1, NULL, err);
	args = json_object_new_object();
	json_object_object_add(args, "fdset-id",
			       json_object_new_int(STATE_FDSET));
	command(dom, "remove-fd", args, -1, NULL, &ignored);
	return rc;
}

/* Its run state, such as "inmigrate" or "paused". */
static int query_status(virDomainPtr dom, char *buf, size_t size,
			struct error *err)
{
	_cleanup_json_ json_object *reply = NULL;
	json_object *status;

	if (command(dom, "query-status", NULL, -1, &reply, err) < 0)
		return -1;
	if (!reply || !json_object_object_get_ex(reply, "status", &status))
		return err_set(err, ERR_INTERNAL, "QEMU tells no status");
	snprintf(buf, size, "%s", json_object_get_string(status));
	return 0;
}

int hv_monitor_load_state(virDomainPtr dom, int fd, struct error *err)
{
	uint64_t deadline = loop_now_ms() + LOAD_TIMEOUT_MS;
	long pause_us = POLL_FIRST_US;
	char status[32];

	if (command(dom, "getfd", args_new("fdname", "sbxstate"), fd, NULL,
		    err) < 0 ||
	    command(dom, "migrate-incoming", args_new("uri", "fd:sbxstate"), -1,
		    NULL, err) < 0)
		return -1;
	for (;;) {
		struct timespec pause = { .tv_nsec = pause_us * 1000 };

		if (query_status(dom, status, sizeof(status), err) < 0)
			return err_wrap(err, "load device state");
		if (strcmp(status, "inmigrate") != 0)
			break;
		if (loop_now_ms() > deadline)
			return err_set(err, ERR_TIMEOUT,
				       "device state is not loaded after %d s",
				       LOAD_TIMEOUT_MS / 1000);
		nanosleep(&pause, NULL);
		if (pause_us < POLL_MAX_US)
			pause_us *= 2;
	}
	if (strcmp(status, "paused") != 0)
		return err_set(err, ERR_INTERNAL,
			       "device state left the guest '%s'", status);
	return 0;
}

int hv_monitor_is_waiting(virDomainPtr dom, struct error *err)
{
	char status[32];

	if (query_status(dom, status, sizeof(status), err) < 0)
		return -1;
	return strcmp(status, "inmigrate") == 0;
}

/* The name of the node that is the disk's writable layer. */
static int disk_node(virDomainPtr dom, char *buf, size_t size,
		     struct error *err)
{
	_cleanup_json_ json_object *reply = NULL;
	size_t n;

	if (command(dom, "query-block", NULL, -1, &reply, err) < 0)
		return -1;
	n = reply && json_object_is_type(reply, json_type_array)
		    ? json_object_array_length(reply)
		    : 0;
	for (size_t i = 0; i < n; i++) {
		json_object *dev = json_object_array_get_idx(reply, i);
		json_object *qdev, *inserted, *node;

		if (json_object_object_get_ex(dev, "qdev", &qdev) &&
		    strncmp(json_object_get_string(qdev), HV_XML_DISK_QDEV,
			    strlen(HV_XML_DISK_QDEV)) == 0 &&
		    json_object_object_get_ex(dev, "inserted", &inserted) &&
		    json_object_object_get_ex(inserted, "node-name", &node) &&
		    json_object_is_type(node, json_type_string) &&
		    str_copy(buf, size, json_object_get_string(node)) == 0)
			return 0;
	}
	return err_set(err, ERR_INTERNAL, "QEMU knows no disk");
}

/* Numbers grow while a QEMU lives, so its nodes' names do not repeat. */
static void node_name(unsigned int number, char *buf, size_t size)
{
	snprintf(buf, size, "sbx-disk-%u", number);
}

int hv_monitor_disk_number(virDomainPtr dom, int *ret, struct error *err)
{
	char node[64], again[64];
	unsigned int number;

	if (disk_node(dom, node, sizeof(node), err) < 0)
		return -1;
	*ret = -1;
	if (sscanf(node, "sbx-disk-%4u", &number) == 1) {
		node_name(number, again, sizeof(again));
		if (!strcmp(node, again))
			*ret = (int)number;
	}
	return 0;
}

int hv_monitor_resize_disk(virDomainPtr dom, uint64_t size, struct error *err)
{
	char node[64];
	json_object *args;

	if (disk_node(dom, node, sizeof(node), err) < 0)
		return -1;
	args = args_new("node-name", node);
	json_object_object_add(args, "size", json_object_new_uint64(size));
	return command(dom, "block_resize", args, -1, NULL, err);
}

/* A layer's file. */
static json_object *file_node(const char *path)
{
	json_object *file = args_new("driver", "file");

	json_object_object_add(file, "filename", json_object_new_string(path));
	json_object_object_add(file, "discard",
			       json_object_new_string("unmap"));
	json_object_object_add(file, "auto-read-only",
			       json_object_new_boolean(1));
	return file;
}

static json_object *layer_node(const char *const *layers, size_t n_layers,
			       const char *name)
{
	json_object *node = args_new("driver", n_layers > 1 ? "qcow2" : "raw");

	if (name)
		json_object_object_add(node, "node-name",
				       json_object_new_string(name));
	else
		json_object_object_add(node, "read-only",
				       json_object_new_boolean(1));
	json_object_object_add(node, "discard",
			       json_object_new_string("unmap"));
	json_object_object_add(node, "file", file_node(layers[0]));
	if (n_layers > 1)
		json_object_object_add(
			node, "backing",
			layer_node(layers + 1, n_layers - 1, NULL));
	return node;
}

int hv_monitor_replace_disk(virDomainPtr dom, const char *const *layers,
			    size_t n_layers, unsigned int number,
			    struct error *err)
{
	char name[32];
	json_object *args;

	node_name(number, name, sizeof(name));
	if (command(dom, "blockdev-add", layer_node(layers, n_layers, name), -1,
		    NULL, err) < 0)
		return -1;
	args = args_new("path", HV_XML_DISK_QDEV);
	json_object_object_add(args, "property",
			       json_object_new_string("drive"));
	json_object_object_add(args, "value", json_object_new_string(name));
	return command(dom, "qom-set", args, -1, NULL, err);
}

int hv_monitor_add_layer(virDomainPtr dom, const char *path,
			 unsigned int number, struct error *err)
{
	char node[64], name[32];
	struct error ignored;
	json_object *args;
	int rc;

	if (disk_node(dom, node, sizeof(node), err) < 0)
		return -1;
	node_name(number, name, sizeof(name));
	args = args_new("driver", "qcow2");
	json_object_object_add(args, "node-name", json_object_new_string(name));
	json_object_object_add(args, "discard",
			       json_object_new_string("unmap"));
	json_object_object_add(args, "file", file_node(path));
	json_object_object_add(args, "backing", NULL);
	rc = command(dom, "blockdev-add", args, -1, NULL, err);
	if (rc == 0) {
		args = args_new("node", node);
		json_object_object_add(args, "overlay",
				       json_object_new_string(name));
		rc = command(dom, "blockdev-snapshot", args, -1, NULL, err);
	}
	if (rc == 0)
		return 0;
	/* What failed may be the answer, not the command. */
	if (disk_node(dom, node, sizeof(node), &ignored) < 0)
		return 1;
	if (!strcmp(node, name))
		return 0;
	command(dom, "blockdev-del", args_new("node-name", name), -1, NULL,
		&ignored);
	return -1;
}

int hv_monitor_console(virDomainPtr dom, char *buf, size_t size,
		       struct error *err)
{
	_cleanup_json_ json_object *reply = NULL;
	json_object *args = args_new("device", HV_XML_CONSOLE);

	json_object_object_add(args, "size", json_object_new_int(65536));
	if (command(dom, "ringbuf-read", args, -1, &reply, err) < 0)
		return -1;
	snprintf(buf, size, "%s", reply ? json_object_get_string(reply) : "");
	return 0;
}
