/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line an event, on stderr or to the journal */
#include "base/log.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static const char *program_name = "sandboxd";
static enum log_level level_max = LOG_LEVEL_INFO;
static bool to_journal;

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
	to_journal = !strcmp(mine, stream);
}

/* Guests and peers influence what is logged: no line can forge another. */
static void flatten(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
	}
}

static void send_journal(enum log_level level, const struct log_fields *f,
			 const char *msg)
{
	char message[LINE_MAX_BYTES + 16], priority[16], id[80];
	char fields[4][128];
	const char *names[] = { "SANDBOX_ID", "REQUEST_ID", "ERROR_CODE",
				"MESSAGE_ID" };
	const char *values[] = { f ? f->sandbox_id : NULL,
				 f ? f->request_id : NULL,
				 f ? f->error_code : NULL,
				 f ? f->message_id : NULL };
	struct iovec iov[8];
	int n = 0;

	snprintf(message, sizeof(message), "MESSAGE=%s", msg);
	snprintf(priority, sizeof(priority), "PRIORITY=%d", level);
	snprintf(id, sizeof(id), "SYSLOG_IDENTIFIER=%s", program_name);
	iov[n++] = (struct iovec){ message, strlen(message) };
	iov[n++] = (struct iovec){ priority, strlen(priority) };
	iov[n++] = (struct iovec){ id, strlen(id) };
	for (int i = 0; i < 4; i++) {
		if (!values[i])
			continue;
		snprintf(fields[i], sizeof(fields[i]), "%s=%s", names[i],
			 values[i]);
		iov[n++] = (struct iovec){ fields[i], strlen(fields[i]) };
	}
	sd_journal_sendv(iov, n);
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
	if (to_journal) {
		send_journal(level, fields, msg);
		return;
	}
	n = snprintf(line, sizeof(line), "<%d>%s: %s\n", level, program_name,
		     msg);
	/* One write, so that lines of several threads do not mix. */
	(void)!write(STDERR_FILENO, line, (size_t)n);
}
