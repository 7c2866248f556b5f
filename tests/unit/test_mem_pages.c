/* SPDX-License-Identifier: Apache-2.0 */
/* test_mem_pages.c - pages of a private mapping, seen from outside */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "engine/snapshot/mem_pages.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define OF_FILE (1ull << 61)

static void own_pages_are_present_and_of_no_file_or_swapped(void **state)
{
	static const uint64_t entries[] = {
		0,		   /* never touched */
		PRESENT | OF_FILE, /* read only: the template's */
		PRESENT,	   /* written */
		SWAPPED,	   /* written, then swapped out */
		PRESENT | OF_FILE,
		SWAPPED | OF_FILE,
	};
	struct page_runs runs = { 0 };

	(void)state;
	mem_pages_decode(entries, 6, 100, &runs);
	assert_int_equal(runs.pages, 3);
	assert_int_equal(runs.n, 2);
	assert_int_equal(runs.runs[0].first, 102);
	assert_int_equal(runs.runs[0].count, 2);
	assert_int_equal(runs.runs[1].first, 105);
	page_runs_free(&runs);
}

static void a_mapping_is_found_by_its_file(void **state)
{
	static const char maps[] =
		"1000-3000 r-xp 00000000 08:01 5 /usr/bin/qemu\n"
		"7f0000000000-7f0000100000 rw-p 00000000 08:01 9 "
		"/t/template.ram.old\n"
		"7f0010000000-7f0010100000 rw-p 00000000 08:01 9 "
		"/t/template.ram\n";
	uint64_t start;

	(void)state;
	assert_int_equal(
		mem_map_parse(maps, "/t/template.ram", NULL, 0x100000, &start),
		0);
	assert_true(start == 0x7f0010000000);
	assert_int_equal(
		mem_map_parse(maps, "/t/template.ram", NULL, 0x200000, &start),
		-ENOENT);
}

static void a_mapping_in_pieces_is_one(void **state)
{
	static const char maps[] =
		"10000-20000 rw-p 00000000 08:01 9 /t/ram (deleted)\n"
		"20000-30000 rw-p 00010000 08:01 9 /t/ram (deleted)\n";
	uint64_t start;

	(void)state;
	assert_int_equal(mem_map_parse(maps, "/t/ram", NULL, 0x20000, &start),
			 0);
	assert_true(start == 0x10000);
}

static void a_mapping_seen_from_another_root_is_found(void **state)
{
	static const char maps[] =
		"10000-20000 rw-p 00000000 08:01 9 /chroot/t/ram\n";
	struct stat st = { .st_dev = makedev(8, 1), .st_ino = 9 };
	uint64_t start;

	(void)state;
	assert_int_equal(mem_map_parse(maps, "/t/ram", &st, 0x10000, &start),
			 0);
	st.st_ino = 8;
	assert_int_equal(mem_map_parse(maps, "/t/ram", &st, 0x10000, &start),
			 -ENOENT);
}

static void a_shared_mapping_is_none(void **state)
{
	static const char maps[] = "10000-20000 rw-s 00000000 08:01 9 /t/ram\n";
	uint64_t start;

	(void)state;
	assert_int_equal(mem_map_parse(maps, "/t/ram", NULL, 0x10000, &start),
			 -ENOENT);
}

/* Ourselves as the guest: a file mapped privately, some of it written. */
struct mapped {
	char path[64];
	uint8_t *base;
	size_t len;
};

static int map_file(struct mapped *m)
{
	int fd;

	snprintf(m->path, sizeof(m->path), "/tmp/test_mem_pages.XXXXXX");
	fd = mkstemp(m->path);
	m->len = 64 * MEM_PAGE_SIZE;
	if (fd < 0 || ftruncate(fd, (off_t)m->len) < 0)
		return -1;
	m->base =
		mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	return m->base == MAP_FAILED ? -1 : 0;
}

static void pages_are_copied_out_of_and_into_a_process(void **state)
{
	struct page_runs runs = { 0 };
	struct error err = { 0 };
	struct mem_map map;
	struct mapped m;
	uint8_t buf[3 * MEM_PAGE_SIZE];
	volatile uint8_t sink;

	(void)state;
	assert_int_equal(map_file(&m), 0);
	sink = m.base[5 * MEM_PAGE_SIZE]; /* read is not written */
	(void)sink;
	m.base[7 * MEM_PAGE_SIZE] = 7;
	m.base[8 * MEM_PAGE_SIZE + 100] = 8;
	m.base[63 * MEM_PAGE_SIZE + 4095] = 63;
	assert_int_equal(mem_map_find(getpid(), m.path, m.len, &map, &err), 0);
	assert_int_equal(mem_pages_written(&map, &runs, &err), 0);
	assert_int_equal(runs.pages, 3);
	assert_int_equal(mem_pages_read(&map, runs.runs, runs.n, buf), 0);
	assert_int_equal(buf[0], 7);
	assert_int_equal(buf[MEM_PAGE_SIZE + 100], 8);
	assert_int_equal(buf[3 * MEM_PAGE_SIZE - 1], 63);
	buf[0] = 70;
	assert_int_equal(mem_pages_write(&map, runs.runs, runs.n, buf), 0);
	assert_int_equal(m.base[7 * MEM_PAGE_SIZE], 70);
	page_runs_free(&runs);
	munmap(m.base, m.len);
	unlink(m.path);
}

static void pages_beyond_the_memory_are_refused(void **state)
{
	struct mem_map map = { getpid(), 0x1000, 4 * MEM_PAGE_SIZE };
	struct page_run run = { 3, 2 };
	uint8_t buf[2 * MEM_PAGE_SIZE];

	(void)state;
	assert_int_equal(mem_pages_read(&map, &run, 1, buf), -EFAULT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			own_pages_are_present_and_of_no_file_or_swapped),
		cmocka_unit_test(a_mapping_is_found_by_its_file),
		cmocka_unit_test(a_mapping_in_pieces_is_one),
		cmocka_unit_test(a_mapping_seen_from_another_root_is_found),
		cmocka_unit_test(a_shared_mapping_is_none),
		cmocka_unit_test(pages_are_copied_out_of_and_into_a_process),
		cmocka_unit_test(pages_beyond_the_memory_are_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
