/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - what this host's QEMU can do, found out by doing it
 *
 * Theory of operation
 * ===================
 *
 * The guest kernel is booted without initrd and without a root. One that runs
 * gets as far as saying that it cannot mount a root, panics, and with
 * panic=-1 and -no-reboot QEMU ends by itself, after a second or less. A KVM
 * that is there but broken hangs in early boot or ends QEMU with an error:
 * either way those words are missing.
 *
 * The answer is kept in STATE/accelerator with all it depends on in front.
 */
#include "engine/hv/probe.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/proc/child.h"

#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>

/* KVM that works boots in a second; where emulation would do instead, that is
 * all the patience there is. Where nothing else would do, a slow host (one that
 * is a guest itself) is worth waiting for.
 */
#define PROBE_TIMEOUT_MS   5000
#define PROBE_PATIENT_MS   150000 /* at most */
#define VERSION_TIMEOUT_MS 20000
#define REMEMBERED_MAX	   1024

int probe_parse_version(const char *text, struct probe_result *ret)
{
	static const char before[] = "QEMU emulator version ";
	const char *p = strstr(text, before);
	unsigned int major, minor, micro;

	if (!p || sscanf(p + strlen(before), "%3u.%3u.%3u", &major, &minor,
			 &micro) != 3)
		return -EINVAL;
	snprintf(ret->qemu_version, sizeof(ret->qemu_version), "%u.%u.%u",
		 major, minor, micro);
	snprintf(ret->machine, sizeof(ret->machine), "pc-q35-%u.%u", major,
		 minor);
	ret->ram_readonly = major > 8 || (major == 8 && minor >= 2);
	return 0;
}

bool probe_has_booted(const char *console)
{
	return strstr(console, "Linux version") &&
	       strstr(console, "Unable to mount root fs");
}

/* "name: value" of the first CPU, as "value/". */
static void add_cpu_field(const char *cpuinfo, const char *name, char *buf,
			  size_t size)
{
	const char *p = strstr(cpuinfo, name);
	size_t len = strlen(buf), n;

	p = p ? strchr(p, ':') : NULL;
	if (!p)
		return;
	p += strspn(p, ": \t");
	n = strcspn(p, "\n");
	snprintf(buf + len, size - len, "/%.*s", (int)(n < 48 ? n : 48), p);
}

static void read_cpu_model(char *buf, size_t size)
{
	_cleanup_free_ char *cpuinfo = NULL;

	snprintf(buf, size, "host");
	if (fd_read_file(AT_FDCWD, "/proc/cpuinfo", 16 << 20, &cpuinfo, NULL) <
	    0)
		return;
	add_cpu_field(cpuinfo, "vendor_id", buf, size);
	add_cpu_field(cpuinfo, "cpu family", buf, size);
	add_cpu_field(cpuinfo, "\nmodel\t", buf, size);
	add_cpu_field(cpuinfo, "stepping", buf, size);
}

static bool boots_under_kvm(const char *qemu, const char *kernel,
			    uint32_t timeout_ms)
{
	const char *const argv[] = { qemu,
				     "-accel",
				     "kvm",
				     "-cpu",
				     "host",
				     "-machine",
				     "q35",
				     "-m",
				     "256",
				     "-nodefaults",
				     "-no-user-config",
				     "-display",
				     "none",
				     "-no-reboot",
				     "-serial",
				     "stdio",
				     "-kernel",
				     kernel,
				     "-append",
				     "console=ttyS0 panic=-1",
				     NULL };
	_cleanup_free_ char *out = xcalloc(1, 262144);
	struct child_spec child = { .argv = argv,
				    .uid = (uid_t)-1,
				    .timeout_ms = timeout_ms,
				    .out = out,
				    .out_size = 262144 };
	struct error err;

	if (access("/dev/kvm", R_OK | W_OK) < 0)
		return false;
	/* A broken KVM ends in a timeout: its output counts, not its end. */
	child_run(&child, &err);
	return probe_has_booted(out);
}

/* What the answer depends on. */
static char *probe_key(const struct probe_result *r, const char *cpu)
{
	struct utsname un = { 0 };

	uname(&un);
	return xasprintf("%s %s qemu-%s %s ", un.release, un.version,
			 r->qemu_version, cpu);
}

static bool kvm_works(const char *qemu, const char *kernel,
		      const char *state_dir, uint64_t patience_ms,
		      const struct probe_result *r)
{
	_cleanup_free_ char *path = xasprintf("%s/accelerator", state_dir);
	_cleanup_free_ char *known = NULL;
	_cleanup_free_ char *line = NULL;
	_cleanup_free_ char *key = NULL;
	char cpu[128];
	struct error err;
	bool works;

	if (access("/dev/kvm", F_OK) < 0)
		return false;
	read_cpu_model(cpu, sizeof(cpu));
	key = probe_key(r, cpu);
	if (fd_read_file(AT_FDCWD, path, REMEMBERED_MAX, &known, NULL) == 0 &&
	    strncmp(known, key, strlen(key)) == 0) {
		if (!strcmp(known + strlen(key), "kvm\n"))
			return true;
		/* Found in haste, it does not count for the patient. */
		if (!patience_ms && !strcmp(known + strlen(key), "tcg\n"))
			return false;
	}
	if (!patience_ms)
		patience_ms = PROBE_TIMEOUT_MS;
	else if (patience_ms > PROBE_PATIENT_MS)
		patience_ms = PROBE_PATIENT_MS;
	works = boots_under_kvm(qemu, kernel, patience_ms);
	line = xasprintf("%s%s\n", key, works ? "kvm" : "tcg");
	if (fd_replace_file(AT_FDCWD, path, line, strlen(line), 0644, &err) < 0)
		log_warn("accelerator is not remembered: %s", err.msg);
	return works;
}

int probe_run(enum probe_wish wish, uint64_t patience_ms, const char *qemu,
	      const char *kernel, const char *state_dir,
	      struct probe_result *ret, struct error *err)
{
	const char *const argv[] = { qemu, "--version", NULL };
	char out[512];
	struct child_spec child = { .argv = argv,
				    .uid = (uid_t)-1,
				    .timeout_ms = VERSION_TIMEOUT_MS,
				    .out = out,
				    .out_size = sizeof(out) };
	struct probe_result r = { 0 };

	if (child_run(&child, err) < 0)
		return err_wrap(err, "ask QEMU for its version");
	if (probe_parse_version(out, &r) < 0)
		return err_set(err, ERR_INTERNAL, "'%s' tells no version",
			       qemu);
	if (wish != PROBE_TCG &&
	    kvm_works(qemu, kernel, state_dir,
		      wish == PROBE_KVM ? patience_ms : 0, &r)) {
		r.accelerator = HV_ACCEL_KVM;
		read_cpu_model(r.cpu_model, sizeof(r.cpu_model));
		*ret = r;
		return 0;
	}
	if (wish == PROBE_KVM)
		return err_set(
			err, ERR_UNAVAILABLE,
			"no guest boots under KVM on this host; "
			"accelerator = tcg runs guests without isolation "
			"by hardware");
	log_warn(
		"GUESTS ARE EMULATED (TCG): slow, and NOT a security boundary; "
		"%s",
		wish == PROBE_TCG ? "the configuration asks for it"
				  : "no guest boots under KVM here");
	r.accelerator = HV_ACCEL_TCG;
	snprintf(r.cpu_model, sizeof(r.cpu_model), "tcg-max-48");
	*ret = r;
	return 0;
}
