/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line an event, on stderr or to the journal
 *
 * The journal is spoken to here, not by libsystemd: its socket is connected
 * once, by path, so that processes that lose all paths keep it. The protocol is
 * a datagram of "NAME=value" lines; values hold no newline, flatten() sees to
 * that. What cannot be sent goes to stderr, which systemd reads too.
 */
#include "base/log.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024
#define ID_MAX_BYTES   128
#define JOURNAL	       "/run/systemd/journal/socket"

static const char *program_name = "sandboxd";
static enum log_level level_max = LOG_LEVEL_INFO;
static int journal_fd = -EBADF;

int log_open_journal(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	fd_close(&journal_fd);
	journal_fd = fd;
	return 0;
}

void log_open(const char *program, enum log_level max)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	char mine[64];

	program_name = program;
	level_max = max;
	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return;
	snprintf(mine, sizeof(mine), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino);
	if (!strcmp(mine, stream))
		log_open_journal(JOURNAL);
}

/* Guests and peers influence what is logged: no line can forge another. */
static void flatten(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
	}
}

/* The sandbox that a line is about, by how it begins; "" when none. */
static void find_sandbox(char ret[ID_MAX_BYTES], const char *msg)
{
	static const char *const begins[] = { "sandbox '", "guest '" };

	ret[0] = '\0';
	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		size_t n = strlen(begins[i]), len;

		if (strncmp(msg, begins[i], n) != 0)
			continue;
		len = strcspn(msg + n, "'");
		if (len < ID_MAX_BYTES && msg[n + len] == '\'')
			snprintf(ret, ID_MAX_BYTES, "%.*s", (int)len, msg + n);
		return;
	}
}

/* One datagram; false: it is lost. */
static bool send_journal(enum log_level level, const struct log_fields *f,
			 const char *msg)
{
	char text[LINE_MAX_BYTES + 8 * ID_MAX_BYTES], found[ID_MAX_BYTES];
	const char *names[] = { "SANDBOX_ID", "REQUEST_ID", "ERROR_CODE",
				"MESSAGE_ID" };
	const char *values[] = { f ? f->sandbox_id : NULL,
				 f ? f->request_id : NULL,
				 f ? f->error_code : NULL,
				 f ? f->message_id : NULL };
	int len = snprintf(text, sizeof(text),
			   "PRIORITY=%d\nSYSLOG_IDENTIFIER=%.64s\nMESSAGE=%s\n",
			   level, program_name, msg);

	find_sandbox(found, msg);
	if ((!values[0] || !values[0][0]) && found[0])
		values[0] = found;
	for (int i = 0; i < 4; i++) {
		char value[ID_MAX_BYTES];

		if (!values[i] || !values[i][0])
			continue;
		snprintf(value, sizeof(value), "%s", values[i]);
		flatten(value);
		len += snprintf(text + len, sizeof(text) - (size_t)len,
				"%s=%s\n", names[i], value);
	}
	return send(journal_fd, text, (size_t)len,
		    MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}

void log_line(enum log_level level, const struct log_fields *fields,
	      const char *fmt, ...)
{
	char msg[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 128];
	va_list ap;
	int n;

	if (level > level_max)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	flatten(msg);
	if (journal_fd >= 0 && send_journal(level, fields, msg))
		return;
	n = snprintf(line, sizeof(line), "<%d>%s: %s\n", level, program_name,
		     msg);
	/* One write, so that lines of several threads do not mix. */
	(void)!write(STDERR_FILENO, line, (size_t)n);
}
