/* SPDX-License-Identifier: Apache-2.0 */
/* test_mem_file.c - sandbox.mem.zst: written, read back, and damaged */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/hv.h"
#include "engine/snapshot/mem_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGES 2000u

/* Memory of a pretended guest, and another that it is loaded into. */
struct memory {
	uint8_t *now, *restored;
	struct page_runs runs;
};

static uint8_t *page_of(uint8_t *base, uint32_t page)
{
	return base + (size_t)page * MEM_PAGE_SIZE;
}

static int read_memory(void *arg, const struct page_run *runs, size_t n,
		       uint8_t *buf)
{
	const struct memory *m = arg;

	for (size_t i = 0; i < n; i++) {
		size_t len = (size_t)runs[i].count * MEM_PAGE_SIZE;

		memcpy(buf, page_of(m->now, runs[i].first), len);
		buf += len;
	}
	return 0;
}

static int write_memory(void *arg, const struct page_run *runs, size_t n,
			const uint8_t *buf)
{
	const struct memory *m = arg;

	for (size_t i = 0; i < n; i++) {
		size_t len = (size_t)runs[i].count * MEM_PAGE_SIZE;

		if (buf) {
			memcpy(page_of(m->restored, runs[i].first), buf, len);
			buf += len;
		} else {
			memset(page_of(m->restored, runs[i].first), 0, len);
		}
	}
	return 0;
}

static int read_nothing(void *arg, const struct page_run *runs, size_t n,
			uint8_t *buf)
{
	(void)arg;
	(void)runs;
	(void)n;
	(void)buf;
	return -ESRCH;
}

/* Some pages written: noise, text, or zero; the others are as in the template
 * (0x5a everywhere).
 */
static void memory_init(struct memory *m, unsigned int seed)
{
	*m = (struct memory){ .now = xcalloc(PAGES, MEM_PAGE_SIZE),
			      .restored = xcalloc(PAGES, MEM_PAGE_SIZE) };
	memset(m->now, 0x5a, (size_t)PAGES * MEM_PAGE_SIZE);
	memset(m->restored, 0x5a, (size_t)PAGES * MEM_PAGE_SIZE);
	srand(seed);
	for (uint32_t page = 0; page < PAGES; page++) {
		uint8_t *p = page_of(m->now, page);

		switch (rand() % 5) {
		case 0:
			for (size_t i = 0; i < MEM_PAGE_SIZE; i++)
				p[i] = (uint8_t)rand();
			break;
		case 1:
			memset(p, rand(), MEM_PAGE_SIZE);
			break;
		case 2:
			memset(p, 0, MEM_PAGE_SIZE);
			break;
		default:
			continue;
		}
		page_runs_add(&m->runs, page);
	}
}

static void memory_fini(struct memory *m)
{
	free(m->now);
	free(m->restored);
	page_runs_free(&m->runs);
}

static int save(struct memory *m, struct mem_file_stats *stats)
{
	struct mem_source source = { .read = read_memory, .arg = m };
	int fd = memfd_create("mem", 0);

	assert_true(fd >= 0);
	assert_int_equal(mem_file_write(fd, &source, &m->runs, PAGES, 3, NULL,
					stats, NULL),
			 0);
	return fd;
}

/* 0 when the file loads; what is wrong goes into @err. */
static int load(struct memory *m, int fd, const char *sha, struct error *err)
{
	struct mem_source target = { .write = write_memory, .arg = m };
	struct mem_index index;
	int rc;

	if (mem_file_open(fd, sha, &index, err) < 0)
		return -1;
	rc = mem_file_load(fd, &index, &target, 2, err);
	mem_index_free(&index);
	return rc;
}

static void what_is_written_is_read_back(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed < 6; seed++) {
		struct mem_file_stats stats;
		struct error err = { 0 };
		struct memory m;
		_cleanup_close_ int fd = -EBADF;

		memory_init(&m, seed);
		fd = save(&m, &stats);
		assert_int_equal(stats.data_pages + stats.zero_pages,
				 m.runs.pages);
		assert_int_equal(load(&m, fd, stats.index_sha, &err), 0);
		assert_memory_equal(m.now, m.restored,
				    (size_t)PAGES * MEM_PAGE_SIZE);
		memory_fini(&m);
	}
}

static void a_guest_that_wrote_nothing_is_an_index_only(void **state)
{
	struct mem_file_stats stats;
	struct memory m;
	_cleanup_close_ int fd = -EBADF;

	(void)state;
	memory_init(&m, 1);
	page_runs_free(&m.runs);
	fd = save(&m, &stats);
	assert_int_equal(stats.data_pages, 0);
	assert_int_equal(load(&m, fd, stats.index_sha, NULL), 0);
	memory_fini(&m);
}

static void any_flipped_byte_is_refused(void **state)
{
	struct mem_file_stats stats;
	struct memory m;
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	off_t step;

	(void)state;
	memory_init(&m, 7);
	fd = save(&m, &stats);
	assert_int_equal(fstat(fd, &st), 0);
	step = st.st_size / 97;
	for (off_t at = 0; at < st.st_size; at += step) {
		struct error err = { 0 };
		uint8_t byte, other;

		assert_int_equal(fd_pread_full(fd, &byte, 1, at), 0);
		other = byte ^ 0x10;
		fd_pwrite_full(fd, &other, 1, at);
		if (load(&m, fd, stats.index_sha, &err) == 0)
			/* Only a zstd header's unused bits may differ. */
			assert_memory_equal(m.now, m.restored,
					    (size_t)PAGES * MEM_PAGE_SIZE);
		else
			assert_int_equal(err.code, ERR_DATA_LOSS);
		fd_pwrite_full(fd, &byte, 1, at);
	}
	assert_int_equal(load(&m, fd, stats.index_sha, NULL), 0);
	memory_fini(&m);
}

static void every_byte_of_the_index_counts(void **state)
{
	struct mem_file_stats stats;
	struct memory m;
	_cleanup_close_ int fd = -EBADF;
	struct mem_index index;

	(void)state;
	memory_init(&m, 8);
	fd = save(&m, &stats);
	assert_int_equal(mem_file_open(fd, NULL, &index, NULL), 0);
	for (uint64_t at = index.at; at < stats.size; at += 37) {
		struct error err = { 0 };
		uint8_t byte, other;

		assert_int_equal(fd_pread_full(fd, &byte, 1, (off_t)at), 0);
		other = (uint8_t)(byte + 1);
		fd_pwrite_full(fd, &other, 1, (off_t)at);
		assert_int_equal(load(&m, fd, stats.index_sha, &err), -1);
		fd_pwrite_full(fd, &byte, 1, (off_t)at);
	}
	mem_index_free(&index);
	memory_fini(&m);
}

static void a_file_cut_off_anywhere_is_refused(void **state)
{
	struct mem_file_stats stats;
	struct memory m;
	_cleanup_close_ int fd = -EBADF;

	(void)state;
	memory_init(&m, 9);
	fd = save(&m, &stats);
	for (uint64_t size = stats.size; size > 0; size -= size / 5 + 1) {
		struct error err = { 0 };

		assert_int_equal(ftruncate(fd, (off_t)(size - 1)), 0);
		assert_int_equal(load(&m, fd, stats.index_sha, &err), -1);
		assert_int_equal(err.code, ERR_DATA_LOSS);
	}
	memory_fini(&m);
}

static void another_file_than_the_manifests_is_refused(void **state)
{
	struct mem_file_stats a, b;
	struct memory m, n;
	struct error err = { 0 };
	_cleanup_close_ int fd = -EBADF;
	_cleanup_close_ int other = -EBADF;

	(void)state;
	memory_init(&m, 10);
	memory_init(&n, 11);
	fd = save(&m, &a);
	other = save(&n, &b);
	assert_int_equal(load(&m, other, a.index_sha, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	memory_fini(&m);
	memory_fini(&n);
}

static void a_guest_that_is_gone_fails_the_save(void **state)
{
	struct mem_source source = { .read = read_nothing };
	struct mem_file_stats stats;
	struct error err = { 0 };
	struct memory m;
	_cleanup_close_ int fd = memfd_create("mem", 0);

	(void)state;
	memory_init(&m, 12);
	assert_int_equal(mem_file_write(fd, &source, &m.runs, PAGES, 2, NULL,
					&stats, &err),
			 -1);
	assert_int_equal(err.code, ERR_INTERNAL);
	memory_fini(&m);
}

static void a_save_stops_when_asked_to(void **state)
{
	struct mem_source source = { .read = read_memory };
	struct hv_progress progress = { .cancel = true };
	struct mem_file_stats stats;
	struct error err = { 0 };
	struct memory m;
	_cleanup_close_ int fd = memfd_create("mem", 0);

	(void)state;
	memory_init(&m, 13);
	source.arg = &m;
	assert_int_equal(mem_file_write(fd, &source, &m.runs, PAGES, 1,
					&progress, &stats, &err),
			 -1);
	assert_int_equal(err.code, ERR_CANCELLED);
	memory_fini(&m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(a_guest_that_wrote_nothing_is_an_index_only),
		cmocka_unit_test(any_flipped_byte_is_refused),
		cmocka_unit_test(every_byte_of_the_index_counts),
		cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
		cmocka_unit_test(another_file_than_the_manifests_is_refused),
		cmocka_unit_test(a_guest_that_is_gone_fails_the_save),
		cmocka_unit_test(a_save_stops_when_asked_to),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
