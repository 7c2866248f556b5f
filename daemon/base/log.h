/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line an event, on stderr or to the journal
 *
 * Under systemd (JOURNAL_STREAM names our stderr) lines go to the journal with
 * fields; otherwise to stderr with "<N>" priorities. A line that begins with
 * "sandbox 'ID':" or "guest 'ID':" has SANDBOX_ID by that. Who handles an error
 * logs it; nobody else does. Env, exec arguments, tokens and keys are never
 * logged. Any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

struct error;

/* syslog's priorities. */
enum log_level {
	LOG_LEVEL_ERR = 3,
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* What a line is about; each may be NULL. */
struct log_fields {
	const char *sandbox_id;
	const char *request_id;
	const char *error_code;
	const char *message_id; /* of log_id.h, for `journalctl MESSAGE_ID=` */
};

/* Before a jail: the journal's socket is connected here. */
void log_open(const char *program, enum log_level max);
/* Lines go to the journal's socket at @path from now on. 0 or -errno. */
int log_open_journal(const char *path);
void log_line(enum log_level level, const struct log_fields *fields,
	      const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_err(...)   log_line(LOG_LEVEL_ERR, NULL, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, NULL, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)

/* A line of the catalog. */
#define log_id(level, id, ...)                                                 \
	log_line(level, &(struct log_fields){ .message_id = id }, __VA_ARGS__)

#endif /* BASE_LOG_H */
