/* SPDX-License-Identifier: Apache-2.0 */
/* test_whole.c - libvirt's save file, kept without its XML */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/hv/hv_whole.h"
#include "engine/hv/hv_whole_save.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER 92
#define DATA   (3u << 20)

static int memfd(void)
{
	return memfd_create("save", MFD_CLOEXEC);
}

static uint8_t content(size_t i)
{
	return (uint8_t)(i * 7 + i / 4096);
}

/* As libvirt writes it: header, XML and cookie, QEMU's data. */
static int saved_by_libvirt(const char *magic)
{
	uint8_t head[HEADER] = { 0 };
	uint32_t words[5] = { 2, 100, 1, 0, 40 };
	uint8_t *data = xcalloc(1, DATA);
	char xml[100] = "<domain>the old one</domain>";
	int fd = memfd();

	for (size_t i = 0; i < DATA; i++)
		data[i] = content(i);
	memcpy(head, magic, 16);
	memcpy(head + 16, words, sizeof(words));
	assert_int_equal(fd_write_full(fd, head, sizeof(head)), 0);
	assert_int_equal(fd_write_full(fd, xml, sizeof(xml)), 0);
	assert_int_equal(fd_write_full(fd, data, DATA), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	free(data);
	return fd;
}

static int packed(void)
{
	int from = saved_by_libvirt("LibvirtQemudSave"), to = memfd();
	struct error err;

	if (hv_whole_pack(from, to, 2, &err) < 0)
		fail_msg("%s", err.msg);
	close(from);
	assert_int_equal(lseek(to, 0, SEEK_SET), 0);
	return to;
}

static void what_is_restored_has_the_new_guests_xml(void **state)
{
	static const char xml[] = "<domain>the new one</domain>";
	int from = packed(), to = memfd();
	uint8_t *all = xcalloc(1, HEADER + sizeof(xml) + DATA);
	uint32_t words[5];
	struct error err;

	(void)state;
	assert_int_equal(hv_whole_unpack(from, to, xml, &err), 0);
	assert_int_equal(lseek(to, 0, SEEK_END), HEADER + sizeof(xml) + DATA);
	assert_int_equal(fd_pread_full(to, all, HEADER + sizeof(xml) + DATA, 0),
			 0);
	assert_memory_equal(all, "LibvirtQemudSave", 16);
	memcpy(words, all + 16, sizeof(words));
	assert_int_equal(words[0], 2);
	assert_int_equal(words[1], sizeof(xml));
	assert_int_equal(words[2], 0); /* stopped */
	assert_int_equal(words[4], 0); /* the old one's cookie is gone */
	assert_string_equal((char *)all + HEADER, xml);
	for (size_t i = 0; i < DATA; i++)
		if (all[HEADER + sizeof(xml) + i] != content(i))
			fail_msg("byte %zu", i);
	free(all);
	close(from);
	close(to);
}

static void an_unfinished_save_is_not_packed(void **state)
{
	int from = saved_by_libvirt("LibvirtQemudPart"), to = memfd();
	struct error err;

	(void)state;
	assert_int_equal(hv_whole_pack(from, to, 1, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	close(from);
	close(to);
}

static void what_is_altered_or_cut_off_is_not_restored(void **state)
{
	int whole = packed();
	off_t len = lseek(whole, 0, SEEK_END);
	uint8_t *data = xcalloc(1, (size_t)len);

	(void)state;
	assert_int_equal(fd_pread_full(whole, data, (size_t)len, 0), 0);
	for (off_t at = 0; at < len; at += 1 + len / 30) {
		int from = memfd(), to = memfd();
		struct error err;

		data[at] ^= 0x40;
		assert_int_equal(fd_write_full(from, data, (size_t)len), 0);
		data[at] ^= 0x40;
		lseek(from, 0, SEEK_SET);
		assert_int_equal(hv_whole_unpack(from, to, "x", &err), -1);
		assert_int_equal(err.code, ERR_DATA_LOSS);
		assert_int_equal(ftruncate(from, 0), 0);
		lseek(from, 0, SEEK_SET);
		assert_int_equal(fd_write_full(from, data, (size_t)at), 0);
		lseek(from, 0, SEEK_SET);
		assert_int_equal(hv_whole_unpack(from, to, "x", &err), -1);
		assert_int_equal(err.code, ERR_DATA_LOSS);
		close(from);
		close(to);
	}
	free(data);
	close(whole);
}

/* The daemon ended between the commit and the removal of libvirt's file. */
static void what_a_committed_save_needs_no_more_is_removed(void **state)
{
	char dir[] = "/tmp/whole.XXXXXX";
	const char *needless[] = { "sandbox.save", "pending", "guest" };
	struct error err;
	struct stat st;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fd_replace_file(fd, "manifest", "m", 1, 0600, &err),
			 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(
			fd_replace_file(fd, needless[i], "x", 1, 0600, &err),
			0);
	assert_int_equal(hv_whole_finish(NULL, dir, &err), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(fstatat(fd, needless[i], &st, 0), -1);
	assert_int_equal(unlinkat(fd, "manifest", 0), 0);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_restored_has_the_new_guests_xml),
		cmocka_unit_test(an_unfinished_save_is_not_packed),
		cmocka_unit_test(what_is_altered_or_cut_off_is_not_restored),
		cmocka_unit_test(
			what_a_committed_save_needs_no_more_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
