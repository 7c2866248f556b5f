/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c - what the journal is told, and that its catalog knows it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/log_id.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int journal = -1;
static char dir[32];

/* One that listens where a journal would. */
static int setup(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	(void)state;
	strcpy(dir, "/tmp/sbxlog.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/socket", dir);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(journal, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -1;
	log_open("sandboxd-test", LOG_LEVEL_INFO);
	return log_open_journal(sun.sun_path);
}

static int teardown(void **state)
{
	char cmd[64];

	(void)state;
	close(journal);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static const char *heard(void)
{
	static char text[4096];
	ssize_t n = recv(journal, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void a_line_has_its_fields(void **state)
{
	const struct log_fields f = { .sandbox_id = "sb_1",
				      .request_id = "r-1",
				      .error_code = "INVALID_STATE",
				      .message_id = LOG_ID_CALL_FAILED };

	(void)state;
	log_line(LOG_LEVEL_WARN, &f, "%s: no", "PauseSandbox");
	assert_string_equal(heard(), "PRIORITY=4\n"
				     "SYSLOG_IDENTIFIER=sandboxd-test\n"
				     "MESSAGE=PauseSandbox: no\n"
				     "SANDBOX_ID=sb_1\nREQUEST_ID=r-1\n"
				     "ERROR_CODE=INVALID_STATE\n"
				     "MESSAGE_ID=" LOG_ID_CALL_FAILED "\n");
}

static void empty_fields_are_left_out(void **state)
{
	const struct log_fields f = { .sandbox_id = "", .request_id = "" };

	(void)state;
	log_line(LOG_LEVEL_INFO, &f, "x");
	assert_string_equal(heard(), "PRIORITY=6\n"
				     "SYSLOG_IDENTIFIER=sandboxd-test\n"
				     "MESSAGE=x\n");
}

static void a_line_about_a_sandbox_says_so(void **state)
{
	const char *text;

	(void)state;
	log_warn("sandbox '%s': %s", "sb_7", "x");
	assert_non_null(strstr(heard(), "\nSANDBOX_ID=sb_7\n"));
	log_warn("guest '%s': it", "sb_8");
	assert_non_null(strstr(heard(), "\nSANDBOX_ID=sb_8\n"));
	log_warn("no sandbox '%s'", "sb_9");
	assert_null(strstr(heard(), "SANDBOX_ID"));
	log_warn("sandbox 'unended");
	text = heard();
	assert_non_null(strstr(text, "MESSAGE=sandbox 'unended\n"));
	assert_null(strstr(text, "SANDBOX_ID"));
}

static void what_a_peer_says_makes_no_field(void **state)
{
	const struct log_fields f = { .request_id = "a\nMESSAGE_ID=b" };
	const char *text;

	(void)state;
	log_line(LOG_LEVEL_WARN, &f, "it says: %s", "x\nSANDBOX_ID=y\r\x1b[");
	text = heard();
	assert_non_null(strstr(text, "MESSAGE=it says: x SANDBOX_ID=y  [\n"));
	assert_non_null(strstr(text, "REQUEST_ID=a MESSAGE_ID=b\n"));
	assert_null(strstr(text, "\nMESSAGE_ID="));
	assert_null(strstr(text, "\nSANDBOX_ID="));
}

static void long_lines_are_cut_not_lost(void **state)
{
	char big[8192];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_err("sandbox 'sb_1': %s", big);
	assert_non_null(strstr(heard(), "\nSANDBOX_ID=sb_1\n"));
}

/* Each id in the header is in the catalog, and the other way round. */
static void the_catalog_explains_every_id(void **state)
{
	const char *src = getenv("srcdir");
	char path[512], id[64], entry[64], *header, *catalog;
	size_t len, n = 0, entries = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/daemon/base/log_id.h",
		 src ? src : "..");
	assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &header, &len),
			 0);
	snprintf(path, sizeof(path), "%s/packaging/sandboxd.catalog",
		 src ? src : "..");
	assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &catalog, &len),
			 0);
	for (char *at = header; (at = strstr(at, "#define LOG_ID_")); at++) {
		assert_int_equal(sscanf(at, "#define %*s \"%63[0-9a-f]\"", id),
				 1);
		assert_int_equal(strlen(id), 32);
		snprintf(entry, sizeof(entry), "-- %s\nSubject: ", id);
		if (!strstr(catalog, entry))
			fail_msg("%s is not in the catalog", id);
		n++;
	}
	for (char *at = catalog; (at = strstr(at, "\n-- ")); at++)
		entries++;
	assert_true(n > 10);
	assert_int_equal(entries, n);
	free(header);
	free(catalog);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_its_fields),
		TEST(empty_fields_are_left_out),
		TEST(a_line_about_a_sandbox_says_so),
		TEST(what_a_peer_says_makes_no_field),
		TEST(long_lines_are_cut_not_lost),
		cmocka_unit_test(the_catalog_explains_every_id),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
