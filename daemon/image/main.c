/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-mkimage: an image archive to an ext4 file system
 *
 * usage: sandboxd-mkimage --in FD --out FD --report FD --size-max BYTES
 *			   [--uid UID --gid GID]
 *
 * The engine starts it for one archive that anybody may have made. It holds
 * three descriptors and nothing else: the archive (a regular file), the disk
 * to write, and a SEQPACKET socket for image.proto's reports. The tree is put
 * together in memory and written as blocks: nothing is unpacked on this host.
 */
#include "base/error.h"
#include "base/jail.h"
#include "base/str.h"
#include "image/build.h"
#include "image/ext4.h"
#include "image/format.h"
#include "image/tree.h"
#include "sandbox/ipc/v1/image.pb-c.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The tree, libarchive's windows (128 MiB each), bitmaps. */
#define MEMORY_MAX (3ull << 30)
#define CPU_S_MAX  1800u
#define TICK_NS	   100000000
#define FILES_MAX  16
#define SIZE_LIMIT (1ull << 44)

struct options {
	int in, out, report;
	uint64_t size_max, uid, gid;
};

struct progress {
	int fd;
	Sandbox__Ipc__V1__ImageProgress__Step step;
	uint64_t total, last_ns;
};

static void send_report(int fd, const Sandbox__Ipc__V1__ImageReport *report)
{
	size_t len = sandbox__ipc__v1__image_report__get_packed_size(report);
	uint8_t *packed = malloc(len + 1);

	if (!packed)
		return;
	sandbox__ipc__v1__image_report__pack(report, packed);
	if (send(fd, packed, len, MSG_NOSIGNAL) < 0)
		_exit(1); /* nobody waits for this image any more */
	free(packed);
}

static void on_tick(uint64_t done, void *arg)
{
	Sandbox__Ipc__V1__ImageReport report =
		SANDBOX__IPC__V1__IMAGE_REPORT__INIT;
	Sandbox__Ipc__V1__ImageProgress p =
		SANDBOX__IPC__V1__IMAGE_PROGRESS__INIT;
	struct progress *progress = arg;
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	if (now - progress->last_ns < TICK_NS)
		return;
	progress->last_ns = now;
	p.step = progress->step;
	p.done = done;
	p.total = progress->total;
	report.body_case = SANDBOX__IPC__V1__IMAGE_REPORT__BODY_PROGRESS;
	report.progress = &p;
	send_report(progress->fd, &report);
}

static void report_failure(int fd, const struct error *err)
{
	Sandbox__Ipc__V1__ImageReport report =
		SANDBOX__IPC__V1__IMAGE_REPORT__INIT;
	Sandbox__Ipc__V1__ImageFailure f =
		SANDBOX__IPC__V1__IMAGE_FAILURE__INIT;
	char text[ERR_MSG_MAX * 2];

	f.kind = err->code == ERR_INVALID
			 ? SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_INVALID
		 : err->code == ERR_LIMIT
			 ? SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_LIMIT
			 : SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_INTERNAL;
	/* Names come from the archive. */
	f.message = (char *)str_escape(text, sizeof(text), err->msg,
				       strlen(err->msg));
	report.body_case = SANDBOX__IPC__V1__IMAGE_REPORT__BODY_FAILURE;
	report.failure = &f;
	send_report(fd, &report);
}

static void report_result(int fd, struct source *source, struct tree *tree)
{
	Sandbox__Ipc__V1__ImageReport report =
		SANDBOX__IPC__V1__IMAGE_REPORT__INIT;
	Sandbox__Ipc__V1__ImageResult r = SANDBOX__IPC__V1__IMAGE_RESULT__INIT;

	r.source =
		(Sandbox__Ipc__V1__ImageResult__Source)(SANDBOX__IPC__V1__IMAGE_RESULT__SOURCE__SOURCE_ROOTFS +
							source->kind);
	r.env = source->config.env;
	r.n_env = source->config.n_env;
	r.user = source->config.user;
	r.workdir = source->config.workdir;
	r.entries = tree_nodes(tree);
	r.dropped = tree_dropped(tree);
	report.body_case = SANDBOX__IPC__V1__IMAGE_REPORT__BODY_RESULT;
	report.result = &r;
	send_report(fd, &report);
}

static int make(const struct options *o, struct format *format,
		struct error *err)
{
	struct progress progress = {
		.fd = o->report,
		.step = SANDBOX__IPC__V1__IMAGE_PROGRESS__STEP__STEP_READING
	};
	struct reader_input input = { .fd = o->in,
				      .unpacked_max = o->size_max,
				      .tick = on_tick,
				      .arg = &progress };
	struct source source = { .input = NULL };
	struct tree *tree = NULL;
	struct ext4 *ext4 = NULL;
	uint64_t size, inodes;
	struct stat st;
	int rc = -1;

	if (fstat(o->in, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_INTERNAL,
			       "the archive is no regular file");
	input.size = progress.total = (uint64_t)st.st_size;
	if (source_open(&input, &source, err) < 0)
		return -1;
	if (build_tree(&source, &tree, err) < 0)
		goto out;
	size = ext4_size_for(tree, &inodes);
	progress.step = SANDBOX__IPC__V1__IMAGE_PROGRESS__STEP__STEP_WRITING;
	if (format_run(format, size, inodes, err) < 0 ||
	    ext4_open(o->out, &ext4, err) < 0 ||
	    build_file_system(&source, tree, ext4, err) < 0)
		goto out;
	report_result(o->report, &source, tree);
	rc = 0;
out:
	ext4_free(ext4);
	tree_free(tree);
	source_fini(&source);
	return rc;
}

static int jail(const struct options *o, struct error *err)
{
	/* What libext2fs asks of a file beyond reading and writing. */
	static const char *const extra[] = {
		"getrlimit", "ftruncate", "fadvise64", "fallocate",
		"fsync",     "geteuid",	  "getuid",    "getegid",
		"getgid",    "sysinfo",	  NULL
	};
	struct jail_spec spec = { .uid = (uid_t)o->uid,
				  .gid = (gid_t)o->gid,
				  .extra = extra,
				  .files_max = FILES_MAX,
				  .memory_max = MEMORY_MAX };
	struct rlimit cpu = { CPU_S_MAX, CPU_S_MAX };

#if defined(__SANITIZE_ADDRESS__)
	spec.memory_max = 0; /* its shadow is terabytes of address space */
#endif
	if (setrlimit(RLIMIT_CPU, &cpu) < 0)
		return err_sys(err, errno, "limit time");
	reader_warm_up();
	return jail_enter(&spec, err);
}

#if defined(__SANITIZE_ADDRESS__)
/* The leak checker looks into /proc at exit, which a jail refuses: leaks are
 * looked for in test_mkimage.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static int number(const char *s, uint64_t max, uint64_t *ret)
{
	if (str_parse_u64(s, max, ret) == 0)
		return 0;
	fprintf(stderr, "sandboxd-mkimage: '%s' is no number up to %llu\n", s,
		(unsigned long long)max);
	return -1;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "in", required_argument, NULL, 'i' },
		{ "out", required_argument, NULL, 'o' },
		{ "report", required_argument, NULL, 'r' },
		{ "size-max", required_argument, NULL, 's' },
		{ "uid", required_argument, NULL, 'u' },
		{ "gid", required_argument, NULL, 'g' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t in = UINT64_MAX, out = UINT64_MAX, report = UINT64_MAX;
	int c, rc = 0;

	while (rc == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		if (c == 'i')
			rc = number(optarg, INT_MAX, &in);
		else if (c == 'o')
			rc = number(optarg, INT_MAX, &out);
		else if (c == 'r')
			rc = number(optarg, INT_MAX, &report);
		else if (c == 's')
			rc = number(optarg, SIZE_LIMIT, &o->size_max);
		else if (c == 'u')
			rc = number(optarg, UINT32_MAX - 1, &o->uid);
		else if (c == 'g')
			rc = number(optarg, UINT32_MAX - 1, &o->gid);
		else
			rc = -1;
	}
	if (rc < 0 || optind != argc || in > INT_MAX || out > INT_MAX ||
	    report > INT_MAX || !o->size_max) {
		fprintf(stderr, "usage: sandboxd-mkimage --in FD --out FD "
				"--report FD --size-max BYTES [--uid UID "
				"--gid GID]\n");
		return -1;
	}
	o->in = (int)in;
	o->out = (int)out;
	o->report = (int)report;
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .in = -1 };
	struct format format = { .fd = -1 };
	struct error err = { 0 };

	if (parse(argc, argv, &o) < 0)
		return 2;
	/* The disk: what the archive unpacks to, and a file system's own. */
	if (format_prepare(&format, o.out, (uid_t)o.uid, (gid_t)o.gid,
			   o.size_max * 2 + (1ull << 30), &err) < 0 ||
	    jail(&o, &err) < 0 || make(&o, &format, &err) < 0) {
		report_failure(o.report, &err);
		format_fini(&format);
		return 1;
	}
	format_fini(&format);
	return 0;
}
