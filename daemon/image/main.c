/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-mkimage: an image archive to an ext4 file system
 *
 * The engine starts `sandboxd-mkimage UID GID SIZE_MAX` for one archive that
 * anybody may have made. It holds three descriptors and nothing else: the
 * archive (a regular file, 3), the disk to write (4), and a SEQPACKET socket for
 * image.proto's reports (5). The tree is put together in memory and written as
 * blocks: nothing is unpacked on this host. SIZE_MAX bytes is the most that the
 * files in it may be.
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

enum { ARCHIVE_FD = 3, DISK_FD, REPORT_FD };

struct progress {
	Sandbox__Ipc__V1__ImageProgress__Step step;
	uint64_t total, last_ns;
};

static void send_report(const Sandbox__Ipc__V1__ImageReport *report)
{
	size_t len = sandbox__ipc__v1__image_report__get_packed_size(report);
	uint8_t *packed = malloc(len + 1);

	if (!packed)
		return;
	sandbox__ipc__v1__image_report__pack(report, packed);
	if (send(REPORT_FD, packed, len, MSG_NOSIGNAL) < 0)
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
	send_report(&report);
}

static void report_failure(const struct error *err)
{
	Sandbox__Ipc__V1__ImageReport report =
		SANDBOX__IPC__V1__IMAGE_REPORT__INIT;
	Sandbox__Ipc__V1__ImageFailure f =
		SANDBOX__IPC__V1__IMAGE_FAILURE__INIT;
	char text[ERR_MSG_MAX * 2];

	f.kind = err->code == ERR_INVALID ?
			 SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_INVALID :
		 err->code == ERR_LIMIT ?
			 SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_LIMIT :
			 SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_INTERNAL;
	/* Names come from the archive. */
	f.message = (char *)str_escape(text, sizeof(text), err->msg,
				       strlen(err->msg));
	report.body_case = SANDBOX__IPC__V1__IMAGE_REPORT__BODY_FAILURE;
	report.failure = &f;
	send_report(&report);
}

static void report_result(struct source *source, struct tree *tree)
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
	send_report(&report);
}

static int make(uint64_t size_max, struct format *format, struct error *err)
{
	struct progress progress = {
		.step = SANDBOX__IPC__V1__IMAGE_PROGRESS__STEP__STEP_READING
	};
	struct reader_input input = { .fd = ARCHIVE_FD,
				      .unpacked_max = size_max,
				      .tick = on_tick,
				      .arg = &progress };
	struct source source = { .input = NULL };
	struct tree *tree = NULL;
	struct ext4 *ext4 = NULL;
	uint64_t size, inodes;
	struct stat st;
	int rc = -1;

	if (fstat(ARCHIVE_FD, &st) < 0 || !S_ISREG(st.st_mode))
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
	    ext4_open(DISK_FD, &ext4, err) < 0 ||
	    build_file_system(&source, tree, ext4, err) < 0)
		goto out;
	report_result(&source, tree);
	rc = 0;
out:
	ext4_free(ext4);
	tree_free(tree);
	source_fini(&source);
	return rc;
}

static int jail(const struct jail_spec *spec, struct error *err)
{
	const struct rlimit cpu = { CPU_S_MAX, CPU_S_MAX };

	if (setrlimit(RLIMIT_CPU, &cpu) < 0)
		return err_sys(err, errno, "limit time");
	reader_warm_up();
	return jail_enter(spec, err);
}

int main(int argc, char **argv)
{
	/* What libext2fs asks of a file beyond reading and writing. */
	static const char *const own_calls[] = {
		"getrlimit", "ftruncate", "fadvise64", "fallocate",
		"fsync",     "geteuid",	  "getuid",    "getegid",
		"getgid",    "sysinfo",	  NULL
	};
	struct jail_spec spec = { .extra = own_calls,
				  .files_max = FILES_MAX,
				  .memory_max = MEMORY_MAX };
	struct format format = { .fd = -1 };
	struct error err = { 0 };
	uint64_t size_max;
	int rc;

	if (argc != 4 || jail_set_user(&spec, argv[1], argv[2]) < 0 ||
	    str_parse_u64(argv[3], SIZE_LIMIT, &size_max) < 0) {
		fputs("sandboxd-mkimage is started by sandboxd\n", stderr);
		return 2;
	}
	/* The disk: what the archive unpacks to, and a file system's own. */
	rc = format_prepare(&format, DISK_FD, spec.uid, spec.gid,
			    size_max * 2 + (1ull << 30), &err);
	if (rc == 0)
		rc = jail(&spec, &err);
	if (rc == 0)
		rc = make(size_max, &format, &err);
	if (rc < 0)
		report_failure(&err);
	format_fini(&format);
	return rc < 0;
}
