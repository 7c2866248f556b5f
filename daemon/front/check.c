/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - the limits that node.proto sets for fields, and P6's for guests' */
#include "front/check.h"

#include "base/error.h"
#include "base/str.h"

#include <inttypes.h>
#include <string.h>

#define ENV_ENTRIES_MAX 256
#define ENV_NAME_MAX	128
#define ENV_BYTES_MAX	(64u << 10)
#define USER_MAX	64
#define SIGNAL_MAX	64
#define SIGNAL_NAME_MAX 16
#define TIMEOUT_MAX_MS	86400000

int check_sandbox_id(const char *s, struct error *err)
{
	if (!str_is_name(s, 63, "a-z0-9_-") || *s == '_' || *s == '-')
		return err_field(err, "sandbox_id",
				 "sandbox_id: 1-63 characters of [a-z0-9_-], "
				 "the first a letter or digit");
	return 0;
}

int check_range(uint64_t n, uint64_t min, uint64_t max, const char *field,
		struct error *err)
{
	if (n < min || n > max)
		return err_field(err, field, "%s: %" PRIu64 " to %" PRIu64,
				 field, min, max);
	return 0;
}

int check_bytes(const ProtobufCBinaryData *b, size_t max, bool nul_free,
		const char *field, struct error *err)
{
	if (b->len > max)
		return err_field(err, field, "%s: at most %zu bytes", field,
				 max);
	if (nul_free && b->len && memchr(b->data, 0, b->len))
		return err_field(err, field, "%s: no NUL may be in it", field);
	return 0;
}

int check_path(const ProtobufCBinaryData *path, bool optional,
	       const char *field, struct error *err)
{
	if (path->len == 0 && !optional)
		return err_field(err, field, "%s: must be given", field);
	return check_bytes(path, CHECK_PATH_MAX, true, field, err);
}

int check_name(const ProtobufCBinaryData *name, const char *field,
	       struct error *err)
{
	if (check_bytes(name, CHECK_NAME_MAX, true, field, err) < 0)
		return -1;
	if (name->len == 0 || memchr(name->data, '/', name->len) ||
	    (name->len <= 2 && !memcmp(name->data, "..", name->len)))
		return err_field(err, field, "%s: not a file's name", field);
	return 0;
}

int check_user(const char *s, const char *field, struct error *err)
{
	if (!str_empty(s) && !str_is_name(s, USER_MAX, "a-zA-Z0-9._:$-"))
		return err_field(err, field,
				 "%s: a name or uid[:gid], at most %d "
				 "characters",
				 field, USER_MAX);
	return 0;
}

int check_pty(const Sandbox__Node__V1__PtySize *pty, struct error *err)
{
	if (!pty)
		return 0;
	if (check_range(pty->rows, 1, 4096, "rows", err) < 0)
		return -1;
	return check_range(pty->columns, 1, 4096, "columns", err);
}

static int check_env(const Sandbox__Node__V1__ProcessSpec *p, struct error *err)
{
	size_t bytes = 0;

	if (p->n_env > ENV_ENTRIES_MAX)
		return err_field(err, "env", "env: at most %d entries",
				 ENV_ENTRIES_MAX);
	for (size_t i = 0; i < p->n_env; i++) {
		const char *key = p->env[i]->key;

		if (!str_is_name(key, ENV_NAME_MAX, "A-Za-z0-9_") ||
		    (*key >= '0' && *key <= '9'))
			return err_field(err, "env",
					 "env: names are "
					 "[A-Za-z_][A-Za-z0-9_]*, at most %d "
					 "bytes",
					 ENV_NAME_MAX);
		bytes += strlen(key) + strlen(p->env[i]->value);
	}
	if (bytes > ENV_BYTES_MAX)
		return err_field(err, "env", "env: at most %u bytes in all",
				 ENV_BYTES_MAX);
	return 0;
}

static int check_argv(const Sandbox__Node__V1__ProcessSpec *p,
		      struct error *err)
{
	size_t bytes = 0;

	if (!p->n_argv == !p->command.len)
		return err_field(err, "argv",
				 "argv: exactly one of argv and command");
	if (p->n_argv > CHECK_ARGV_MAX)
		return err_field(err, "argv", "argv: at most %d", CHECK_ARGV_MAX);
	if (p->n_argv && p->argv[0].len == 0)
		return err_field(err, "argv", "argv: the first is empty");
	for (size_t i = 0; i < p->n_argv; i++) {
		bytes += p->argv[i].len + 1;
		if (check_bytes(&p->argv[i], CHECK_COMMAND_MAX, true, "argv",
				err) < 0)
			return -1;
	}
	if (bytes > CHECK_COMMAND_MAX)
		return err_field(err, "argv", "argv: at most %u bytes in all",
				 CHECK_COMMAND_MAX);
	return check_bytes(&p->command, CHECK_COMMAND_MAX, true, "command", err);
}

int check_process(const Sandbox__Node__V1__ProcessSpec *p, struct error *err)
{
	if (!p)
		return err_field(err, "process", "process: must be given");
	if (check_argv(p, err) < 0 || check_env(p, err) < 0 ||
	    check_path(&p->cwd, true, "cwd", err) < 0 ||
	    check_user(p->user, "user", err) < 0 || check_pty(p->pty, err) < 0)
		return -1;
	return check_range(p->timeout_ms, 0, TIMEOUT_MAX_MS, "timeout_ms", err);
}

int check_exited(const Sandbox__Node__V1__ProcessExited *e, struct error *err)
{
	if (check_range(e->exit_code, 0, 255, "exit_code", err) < 0 ||
	    check_range(e->signal, 0, SIGNAL_MAX, "signal", err) < 0)
		return -1;
	if (strlen(e->signal_name) > SIGNAL_NAME_MAX)
		return err_set(err, ERR_INVALID, "a long name of a signal");
	return 0;
}
