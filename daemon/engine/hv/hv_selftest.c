/* SPDX-License-Identifier: Apache-2.0 */
/* hv_selftest.c - whether guests can be cloned on this host
 *
 * By doing it: a small guest is started cold and captured at once, a clone of
 * that is started, saved, and started again from its snapshot. What came of it
 * is kept in STATE/mechanism with all it depends on in front.
 *
 * The guest runs for some milliseconds only, in its firmware: what is tested is
 * QEMU and libvirt, not the guest's kernel.
 */
#include "engine/hv/hv_selftest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/hv/hv_save.h"
#include "engine/hv/hv_start.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define TRIES	       2
#define DISK_NAME      "selftest.raw"
#define DISK_SIZE      (1 << 20)
#define REMEMBERED_MAX 1024
#define WORKS	       "clone\n"
#define FAILS	       "save\n"

static char *key_of(const struct hv_libvirt *lv)
{
	unsigned long version = 0;
	struct utsname un = { 0 };

	uname(&un);
	virGetVersion(&version, NULL, NULL);
	return xasprintf("1 %s qemu-%s %s libvirt-%lu vsock-%d %s ", un.release,
			 lv->probe.qemu_version, lv->probe.machine, version,
			 lv->base.info.vsock, lv->probe.cpu_model);
}

int hv_guest_selftest_known(const struct hv_libvirt *lv)
{
	_cleanup_free_ char *path = xasprintf("%s/mechanism", lv->state_dir);
	_cleanup_free_ char *key = key_of(lv);
	_cleanup_free_ char *known = NULL;

	if (fd_read_file(AT_FDCWD, path, REMEMBERED_MAX, &known, NULL) < 0 ||
	    strncmp(known, key, strlen(key)) != 0)
		return -1;
	if (!strcmp(known + strlen(key), WORKS))
		return 1;
	return strcmp(known + strlen(key), FAILS) ? -1 : 0;
}

static void remember(const struct hv_libvirt *lv, bool works)
{
	_cleanup_free_ char *path = xasprintf("%s/mechanism", lv->state_dir);
	_cleanup_free_ char *key = key_of(lv);
	_cleanup_free_ char *line =
		xasprintf("%s%s", key, works ? WORKS : FAILS);
	struct error err;

	if (fd_replace_file(AT_FDCWD, path, line, strlen(line), 0644, &err) < 0)
		log_warn("the mechanism is not remembered: %s", err.msg);
}

static int make_disk(const struct guest_spec *spec, struct error *err)
{
	_cleanup_close_ int fd = open(
		spec->image_disk,
		O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0444);

	if (fd < 0 || ftruncate(fd, DISK_SIZE) < 0)
		return err_sys(err, errno, "make '%s'", spec->image_disk);
	return 0;
}

static int runs(struct hv *hv, const struct guest_spec *spec, const char *what,
		struct error *err)
{
	enum guest_life life = hv->ops->life(hv, spec->uuid);

	if (life == GUEST_LIFE_RUNNING)
		return 0;
	return err_set(err,
		       life == GUEST_LIFE_UNKNOWN ? ERR_UNAVAILABLE
						  : ERR_INTERNAL,
		       "the %s does not run", what);
}

static int try_once(struct hv *hv, const struct guest_spec *spec,
		    const char *template, const char *snapshot,
		    struct error *err)
{
	uint64_t bytes;

	if (hv_guest_start(hv, spec, NULL, NULL, false, err) < 0)
		return err_wrap(err, "start a guest");
	if (hv_guest_capture(hv, spec, template, NULL, err) < 0)
		return err_wrap(err, "capture it");
	/* Saves do not wait for libvirt to forget: guests get new uuids. This
	 * one does not.
	 */
	if (hv_guest_destroy(hv, spec->uuid, err) < 0)
		return err_wrap(err, "wait for libvirt");
	if (hv_guest_start(hv, spec, template, NULL, false, err) < 0)
		return err_wrap(err, "start a clone");
	if (runs(hv, spec, "clone", err) < 0)
		return -1;
	if (hv_guest_save(hv, spec, template, snapshot, false, &bytes, NULL,
			  err) < 0)
		return err_wrap(err, "save the clone");
	if (hv_guest_destroy(hv, spec->uuid, err) < 0)
		return err_wrap(err, "wait for libvirt");
	if (hv_guest_start(hv, spec, template, snapshot, false, err) < 0)
		return err_wrap(err, "resume the clone");
	return runs(hv, spec, "resumed clone", err);
}

/* The host's trouble, not the mechanism's. */
static bool says_nothing(const struct error *err)
{
	return err->code == ERR_UNAVAILABLE || err->code == ERR_LIMIT ||
	       err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT;
}

int hv_guest_selftest(struct hv *hv, const struct guest_spec *spec,
		      struct error *err)
{
	struct hv_libvirt *lv = (struct hv_libvirt *)hv;
	_cleanup_free_ char *template =
		xasprintf("%s/templates/.selftest", lv->state_dir);
	_cleanup_free_ char *snapshot =
		xasprintf("%s/snapshots/.selftest", lv->state_dir);
	struct guest_spec s = *spec;
	struct error ignored;
	int rc = -1;

	s.cpu = 1;
	s.memory_mib = 256;
	s.disk_mib = 1;
	s.slot.tap[0] = '\0';
	if (snprintf(s.image_disk, sizeof(s.image_disk), "%s/%s", s.dir,
		     DISK_NAME) >= (int)sizeof(s.image_disk))
		return err_set(err, ERR_INTERNAL, "its directory's name");
	snprintf(s.image_digest, sizeof(s.image_digest), "sha256:selftest");
	if (make_disk(&s, err) < 0)
		return -1;
	for (int i = 0; i < TRIES && rc < 0; i++) {
		fd_remove_tree(AT_FDCWD, template, &ignored);
		fd_remove_tree(AT_FDCWD, snapshot, &ignored);
		rc = try_once(hv, &s, template, snapshot, err);
		hv_guest_destroy(hv, s.uuid, &ignored);
	}
	fd_remove_tree(AT_FDCWD, template, &ignored);
	fd_remove_tree(AT_FDCWD, snapshot, &ignored);
	if (rc < 0 && says_nothing(err))
		return -1;
	remember(lv, rc == 0);
	if (rc < 0)
		err->code = ERR_CONFLICT;
	return rc;
}
