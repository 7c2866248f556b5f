/* SPDX-License-Identifier: Apache-2.0 */
/* test_parcel.c - a snapshot's stream, honest and not, through the reader and
 * through the real process
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/sandbox.h"
#include "engine/snapshot/mem_file.h"
#include "engine/snapshot/parcel_proc.h"
#include "engine/snapshot/snapshot.h"
#include "parcel/reader.h"
#include "parcel_sample.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_MIB	  PARCEL_SAMPLE_MIB
#define RAM_PAGES (RAM_MIB * 256u)
#define TEXT(s)	  ((char *)(uintptr_t)(s))

/* ---- reading ---- */

static struct seen {
	unsigned int manifests, pages, page_at[4];
	char bytes[8][16];
} seen;

static int on_manifest(const ParcelManifest *m, void *arg, struct error *err)
{
	(void)m;
	(void)arg;
	(void)err;
	seen.manifests++;
	return 0;
}

static int on_runs(size_t part, const struct page_run *runs, uint32_t n,
		   void *arg, struct error *err)
{
	(void)part;
	(void)runs;
	(void)n;
	(void)arg;
	(void)err;
	return 0;
}

static int on_page(size_t part, uint32_t page, const uint8_t *data, void *arg,
		   struct error *err)
{
	(void)part;
	(void)data;
	(void)arg;
	(void)err;
	if (seen.pages < 4)
		seen.page_at[seen.pages] = page;
	seen.pages++;
	return 0;
}

static int on_bytes(size_t part, uint64_t at, const uint8_t *data, size_t len,
		    void *arg, struct error *err)
{
	(void)arg;
	(void)err;
	if (part < 8 && at + len < sizeof(seen.bytes[0]))
		memcpy(seen.bytes[part] + at, data, len);
	return 0;
}

static const struct parcel_reader_ops ops = { on_manifest, on_runs, on_page,
					      on_bytes };

static int read_stream(const uint8_t *data, size_t len, size_t piece,
		       struct error *err)
{
	struct parcel_reader *r = parcel_reader_new(&ops, NULL);
	int rc = 0;

	memset(&seen, 0, sizeof(seen));
	*err = (struct error){ 0 };
	for (size_t at = 0; at < len && rc == 0; at += piece)
		rc = parcel_reader_feed(
			r, data + at, len - at < piece ? len - at : piece, err);
	if (rc == 0)
		rc = parcel_reader_end(r, err);
	parcel_reader_free(r);
	return rc;
}

static void what_is_written_is_read_in_pieces_of_any_length(void **state)
{
	static const size_t pieces[] = { 1, 7, 4096, 1 << 20 };
	struct parcel_stream s = parcel_sample_stream(parcel_sample_new());
	struct error err;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		if (read_stream(s.data, s.len, pieces[i], &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(seen.manifests, 1);
		assert_int_equal(seen.pages, 3);
		assert_int_equal(seen.page_at[1], 4);
		assert_int_equal(seen.page_at[2], 5);
		assert_string_equal(seen.bytes[1], "12345");
		assert_string_equal(seen.bytes[6], "123456");
	}
	free(s.data);
}

static const char *const names[] = {
	"manifest",	 "template memory", "template state",
	"template disk", "memory",	    "state",
	"disk 0",	 "disk 1",	    "end"
};

/* Which part the byte at @at belongs to. */
static size_t part_at(const struct parcel_stream *s, size_t at)
{
	size_t i = 0;

	while (at >= s->ends[i])
		i++;
	return i;
}

static void any_flipped_byte_is_noticed_and_its_part_named(void **state)
{
	struct parcel_stream s = parcel_sample_stream(parcel_sample_new());
	struct error err;

	(void)state;
	for (size_t at = 0; at < s.len; at++) {
		size_t part = part_at(&s, at);

		/* All of the small parts, some of the pages. */
		if (s.ends[part] - at > 64 && at % 97 && at > 1024)
			continue;
		s.data[at] ^= 0x10;
		assert_int_equal(read_stream(s.data, s.len, 4096, &err), -1);
		s.data[at] ^= 0x10;
		if (at < PARCEL_HEAD_SIZE)
			continue;
		assert_int_equal(err.code, ERR_DATA_LOSS);
		if (!strstr(err.msg, names[part]))
			fail_msg("byte %zu, part %s: %s", at, names[part],
				 err.msg);
	}
	free(s.data);
}

static void a_stream_that_is_cut_off_says_where(void **state)
{
	struct parcel_stream s = parcel_sample_stream(parcel_sample_new());
	struct error err;

	(void)state;
	for (size_t at = PARCEL_HEAD_SIZE; at < s.len; at += 61) {
		assert_int_equal(read_stream(s.data, at, 4096, &err), -1);
		assert_int_equal(err.code, ERR_DATA_LOSS);
		assert_non_null(strstr(err.msg, "cut off"));
		if (!strstr(err.msg, names[part_at(&s, at)]))
			fail_msg("byte %zu: %s", at, err.msg);
	}
	free(s.data);
}

static void a_newer_version_is_refused_as_such(void **state)
{
	struct parcel_stream s = parcel_sample_stream(parcel_sample_new());
	struct error err;

	(void)state;
	s.data[8]++;
	assert_int_equal(read_stream(s.data, s.len, 4096, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "newer"));
	free(s.data);
}

static void nothing_may_follow_the_end(void **state)
{
	struct parcel_stream s = parcel_sample_stream(parcel_sample_new());
	struct error err;

	(void)state;
	s.data = xrealloc(s.data, s.len + 1, 1);
	s.data[s.len] = 0;
	assert_int_equal(read_stream(s.data, s.len + 1, 4096, &err), -1);
	assert_non_null(strstr(err.msg, "end"));
	free(s.data);
}

static void parts_of_two_streams_do_not_mix(void **state)
{
	struct parcel_stream a = parcel_sample_stream(parcel_sample_new()), b;
	struct error err;

	(void)state;
	parcel_sample.m.created_ms = 1;
	b = parcel_sample_stream(&parcel_sample.m);
	/* b's manifest, then a's parts: each is whole by itself. */
	b.data = xrealloc(b.data, b.ends[0] + a.len - a.ends[0], 1);
	memcpy(b.data + b.ends[0], a.data + a.ends[0], a.len - a.ends[0]);
	assert_int_equal(
		read_stream(b.data, b.ends[0] + a.len - a.ends[0], 4096, &err),
		-1);
	assert_non_null(strstr(err.msg, "end"));
	free(a.data);
	free(b.data);
}

static int check(void)
{
	struct error err = { 0 };
	int rc = parcel_sheet_check(&parcel_sample.m, true, &err);

	if (rc < 0)
		assert_int_equal(err.code, ERR_DATA_LOSS);
	return rc;
}

static void a_manifest_has_limits(void **state)
{
	(void)state;
	parcel_sample_new();
	assert_int_equal(check(), 0);
	parcel_sample.platform.machine = TEXT("microvm");
	assert_int_equal(check(), -1);
	parcel_sample.platform.machine = TEXT("pc-q35-7.2,accel=x");
	assert_int_equal(check(), -1);
	parcel_sample_new()->memory_mib = PARCEL_MEMORY_MIB_MAX + 1;
	assert_int_equal(check(), -1);
	parcel_sample_new()->cpu = 4; /* not what the specification has */
	assert_int_equal(check(), -1);
	parcel_sample_new()->disk_size = 511;
	assert_int_equal(check(), -1);
	parcel_sample_new()->image_digest = TEXT("../x");
	assert_int_equal(check(), -1);
	parcel_sample_new()->nonce.len = 31;
	assert_int_equal(check(), -1);
	parcel_sample_new()->template_ = NULL;
	assert_int_equal(check(), -1);
	parcel_sample_new()->template_ram = TEXT("");
	assert_int_equal(check(), -1);
	parcel_sample_new()->n_parts = 5; /* no disk */
	assert_int_equal(check(), -1);
	parcel_sample_new();
	parcel_sample.parts[3].kind = PARCEL_KIND(STATE);
	assert_int_equal(check(), -1);
	parcel_sample_new();
	parcel_sample.parts[4].size = SNAPSHOT_STATE_MAX + 1;
	assert_int_equal(check(), -1);
	parcel_sample_new();
	parcel_sample.parts[3].size = 1ull << 40;
	assert_int_equal(check(), -1);
}

/* ---- through the process ---- */

/**
 * struct run - One run of sandboxd-parcel
 * @fds:	What an order brings
 */
static struct run {
	struct loop *loop;
	struct parcel_proc *proc;
	int fds[12];
	size_t n_fds;
	bool want_template, ended, ok;
	struct error err;
} run;

static void on_ended(const struct error *err, void *arg)
{
	(void)arg;
	run.ok = !err;
	if (err)
		run.err = *err;
	run.ended = true;
}

static void on_report(const ParcelManifest *m, void *arg)
{
	Sandbox__Ipc__V1__ParcelOrder order =
		SANDBOX__IPC__V1__PARCEL_ORDER__INIT;
	struct error err;

	(void)arg;
	assert_int_equal(m->memory_mib, RAM_MIB);
	order.template_ = run.want_template;
	if (parcel_proc_order(run.proc, &order, run.fds, run.n_fds, &err) < 0)
		parcel_proc_stop(run.proc, &err);
}

static const struct parcel_proc_ops proc_ops = { on_report, on_ended };

static void start(bool pack, int stream)
{
	struct parcel_proc_config config = { .program = "./sandboxd-parcel",
					     .pack = pack,
					     .stream = stream };
	struct error err;

	run.ended = false;
	run.err = (struct error){ 0 };
	if (parcel_proc_start(run.loop, &config, &proc_ops, NULL, &run.proc,
			      &err) < 0)
		fail_msg("%s", err.msg);
}

static void wait_end(void)
{
	while (!run.ended)
		sd_event_run(loop_event(run.loop), UINT64_MAX);
	run.proc = parcel_proc_free(run.proc);
}

static int memfd(const void *data, size_t len)
{
	int fd = memfd_create("part", MFD_CLOEXEC);

	assert_int_equal(fd_pwrite_full(fd, data, len, 0), 0);
	return fd;
}

static int setup(void **state)
{
	struct error err;

	(void)state;
	memset(&run, 0, sizeof(run));
	return loop_new(&run.loop, &err);
}

static int teardown(void **state)
{
	(void)state;
	parcel_proc_free(run.proc);
	for (size_t i = 0; i < run.n_fds; i++)
		close(run.fds[i]);
	loop_free(run.loop);
	return 0;
}

static int read_known(void *arg, const struct page_run *runs, size_t n,
		      uint8_t *buf)
{
	(void)arg;
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < runs[i].count; k++) {
			uint32_t page = runs[i].first + k;

			memset(buf, page == 9 ? 0 : (int)page, MEM_PAGE_SIZE);
			buf += MEM_PAGE_SIZE;
		}
	return 0;
}

/* Pages 5 to 9 written, of which 9 is zero. */
static int memory_part(void)
{
	struct mem_source source = { .read = read_known };
	struct page_runs runs = { 0 };
	struct mem_file_stats stats;
	struct error err;
	int fd = memfd("", 0);

	for (uint32_t page = 5; page < 10; page++)
		page_runs_add(&runs, page);
	assert_int_equal(mem_file_write(fd, &source, &runs, RAM_PAGES, 1, NULL,
					&stats, &err),
			 0);
	page_runs_free(&runs);
	return fd;
}

static int state_part(void)
{
	char dir[] = "/tmp/test_parcel.XXXXXX", cmd[64];
	int from = memfd("device state", 12), dir_fd, fd;
	struct error err;

	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(snapshot_write_state(dir_fd, from, &err), 0);
	fd = openat(dir_fd, SNAPSHOT_STATE, O_RDONLY);
	close(from);
	close(dir_fd);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
	return fd;
}

/* The files of the sample, packed: a file with the stream. */
static int packed_stream(void)
{
	Sandbox__Ipc__V1__ParcelOrder order =
		SANDBOX__IPC__V1__PARCEL_ORDER__INIT;
	uint8_t *ram = xcalloc(RAM_PAGES, MEM_PAGE_SIZE);
	int stream = memfd("", 0);
	struct error err;

	memset(ram + 3 * MEM_PAGE_SIZE, 0x11, 2 * MEM_PAGE_SIZE);
	order.manifest = parcel_sample_new();
	run.n_fds = 7;
	run.fds[0] = memfd(ram, (size_t)RAM_PAGES * MEM_PAGE_SIZE);
	run.fds[1] = memfd("tstate", 6);
	run.fds[2] = memfd("tdisk", 5);
	run.fds[3] = memory_part();
	run.fds[4] = state_part();
	run.fds[5] = memfd("layer zero", 10);
	run.fds[6] = memfd("layer one", 9);
	free(ram);
	start(true, stream);
	if (parcel_proc_order(run.proc, &order, run.fds, run.n_fds, &err) < 0)
		fail_msg("%s", err.msg);
	wait_end();
	if (!run.ok)
		fail_msg("%s", run.err.msg);
	for (size_t i = 0; i < run.n_fds; i++)
		close(run.fds[i]);
	run.n_fds = 0;
	assert_int_equal(lseek(stream, 0, SEEK_SET), 0);
	return stream;
}

static void out_files(size_t n)
{
	run.n_fds = n;
	for (size_t i = 0; i < n; i++)
		run.fds[i] = memfd("", 0);
}

static void expect_bytes(int fd, off_t at, const void *want, size_t len)
{
	uint8_t *have = xcalloc(1, len);

	assert_int_equal(fd_pread_full(fd, have, len, at), 0);
	assert_memory_equal(have, want, len);
	free(have);
}

static void what_is_packed_is_unpacked_the_same(void **state)
{
	static const struct page_run runs[] = { { 5, 4 }, { 9, 1 } };
	uint8_t page[MEM_PAGE_SIZE];
	int stream = packed_stream();

	(void)state;
	run.want_template = true;
	out_files(8);
	start(false, stream);
	wait_end();
	if (!run.ok)
		fail_msg("%s", run.err.msg);
	memset(page, 0x11, sizeof(page));
	expect_bytes(run.fds[0], 3 * MEM_PAGE_SIZE, page, sizeof(page));
	expect_bytes(run.fds[0], 4 * MEM_PAGE_SIZE, page, sizeof(page));
	expect_bytes(run.fds[1], 0, "tstate", 6);
	expect_bytes(run.fds[2], 0, "tdisk", 5);
	memset(page, 8, sizeof(page));
	expect_bytes(run.fds[3], 8 * MEM_PAGE_SIZE, page, sizeof(page));
	expect_bytes(run.fds[4], 0, runs, sizeof(runs));
	expect_bytes(run.fds[5], 0, "device state", 12);
	expect_bytes(run.fds[6], 0, "layer zero", 10);
	expect_bytes(run.fds[7], 0, "layer one", 9);
	close(stream);
}

static void a_template_that_is_there_is_only_checked(void **state)
{
	int stream = packed_stream();

	(void)state;
	out_files(5);
	start(false, stream);
	wait_end();
	if (!run.ok)
		fail_msg("%s", run.err.msg);
	expect_bytes(run.fds[2], 0, "device state", 12);
	close(stream);
}

static void a_damaged_compressed_stream_is_refused(void **state)
{
	int whole = packed_stream();
	off_t len = lseek(whole, 0, SEEK_END);

	(void)state;
	out_files(5);
	for (off_t at = 0; at < len; at += 1 + len / 40) {
		uint8_t *data = xcalloc(1, (size_t)len);
		int stream;

		assert_int_equal(fd_pread_full(whole, data, (size_t)len, 0), 0);
		data[at] ^= 0x20;
		stream = memfd(data, (size_t)len);
		free(data);
		lseek(stream, 0, SEEK_SET);
		start(false, stream);
		wait_end();
		close(stream);
		assert_false(run.ok);
		assert_in_range(run.err.code, ERR_INVALID, ERR_INTERNAL);
		assert_true(run.err.code == ERR_DATA_LOSS ||
			    run.err.code == ERR_INVALID);
	}
	close(whole);
}

static void a_stream_cut_off_anywhere_is_refused(void **state)
{
	int whole = packed_stream();
	off_t len = lseek(whole, 0, SEEK_END);

	(void)state;
	out_files(5);
	for (off_t cut = 0; cut < len; cut += 1 + len / 20) {
		assert_int_equal(ftruncate(whole, len - 1 - cut), 0);
		lseek(whole, 0, SEEK_SET);
		start(false, whole);
		wait_end();
		assert_false(run.ok);
		assert_int_equal(run.err.code, ERR_DATA_LOSS);
		assert_non_null(strstr(run.err.msg, "cut off"));
	}
	close(whole);
}

static void altered_memory_is_not_packed(void **state)
{
	Sandbox__Ipc__V1__ParcelOrder order =
		SANDBOX__IPC__V1__PARCEL_ORDER__INIT;
	int stream = packed_stream();
	struct error err;

	(void)state;
	order.manifest = parcel_sample_new();
	order.manifest->template_ = NULL;
	order.manifest->template_ram = TEXT("");
	order.manifest->n_parts = 3;
	order.manifest->parts += 3;
	run.n_fds = 3;
	run.fds[0] = memory_part();
	run.fds[1] = state_part();
	run.fds[2] = memfd("layer", 5);
	assert_int_equal(fd_pwrite_full(run.fds[0], "XXXX", 4, 12), 0);
	start(true, stream);
	assert_int_equal(parcel_proc_order(run.proc, &order, run.fds, 3, &err),
			 0);
	wait_end();
	assert_false(run.ok);
	assert_int_equal(run.err.code, ERR_DATA_LOSS);
	assert_non_null(strstr(run.err.msg, "memory"));
	close(stream);
}

#define P(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			what_is_written_is_read_in_pieces_of_any_length),
		cmocka_unit_test(
			any_flipped_byte_is_noticed_and_its_part_named),
		cmocka_unit_test(a_stream_that_is_cut_off_says_where),
		cmocka_unit_test(a_newer_version_is_refused_as_such),
		cmocka_unit_test(nothing_may_follow_the_end),
		cmocka_unit_test(parts_of_two_streams_do_not_mix),
		cmocka_unit_test(a_manifest_has_limits),
		P(what_is_packed_is_unpacked_the_same),
		P(a_template_that_is_there_is_only_checked),
		P(a_damaged_compressed_stream_is_refused),
		P(a_stream_cut_off_anywhere_is_refused),
		P(altered_memory_is_not_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
