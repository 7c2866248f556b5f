/* SPDX-License-Identifier: Apache-2.0 */
/* test_startup_pages.c - mapped code is given back, and comes again */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/startup_pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONSTANTS (1u << 20)

/* In a segment nobody writes to; not all zeros, or it would be in .bss. */
static const volatile uint8_t constants[CONSTANTS] = { 1, 2, 3 };
static uint8_t data[4096] = { 1 };

static size_t file_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	size_t kib = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssFile: %zu", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static unsigned int touch(void)
{
	unsigned int sum = 0;

	for (size_t i = 0; i < CONSTANTS; i += 1024)
		sum += constants[i];
	return sum;
}

static void pages_that_were_read_are_mapped_no_more(void **state)
{
	size_t before;

	(void)state;
	assert_int_equal(touch(), 1);
	before = file_kib();
	assert_true(startup_pages_drop() >= CONSTANTS);
	assert_true(file_kib() + CONSTANTS / 1024 / 2 < before);
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
