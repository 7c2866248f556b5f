/* SPDX-License-Identifier: Apache-2.0 */
/* test_startup_pages.c - mapped code is given back, and comes again */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/startup_pages.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CONSTANTS (1u << 20)

/* In a segment that nobody writes to. Volatile, it would not be; nor all zeros. */
static const uint8_t constants[CONSTANTS] = { 1, 2, 3 };
static uint8_t data[4096] = { 1 };

/* What the process has mapped as a whole says little: the code that looks comes
 * back, with what lies around it.
 */
static size_t mapped_pages(void)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uintptr_t from = (uintptr_t)constants / page + 1;
	uint64_t entries[CONSTANTS / 4096 - 1];
	size_t n = 0;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, entries, sizeof(entries),
			       (off_t)(from * sizeof(entries[0]))),
			 sizeof(entries));
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		n += entries[i] >> 63;
	close(fd);
	return n;
}

static unsigned int touch(void)
{
	const volatile uint8_t *p = constants;
	unsigned int sum = 0;

	for (size_t i = 0; i < CONSTANTS; i += 1024)
		sum += p[i];
	return sum;
}

static void pages_that_were_read_are_mapped_no_more(void **state)
{
	(void)state;
	assert_int_equal(touch(), 1);
	assert_true(mapped_pages() > CONSTANTS / 4096 / 2);
	assert_true(startup_pages_drop() >= CONSTANTS);
	/* What lies beside them was touched again, and takes some along. */
	assert_true(mapped_pages() < CONSTANTS / 4096 / 4);
}

static void constants_are_what_they_were(void **state)
{
	(void)state;
	startup_pages_drop();
	assert_int_equal(touch(), 1);
	assert_int_equal(constants[2], 3);
}

static void what_was_written_stays(void **state)
{
	(void)state;
	memset(data, 0x5a, sizeof(data));
	startup_pages_drop();
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], 0x5a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_that_were_read_are_mapped_no_more),
		cmocka_unit_test(constants_are_what_they_were),
		cmocka_unit_test(what_was_written_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
