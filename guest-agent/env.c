/* SPDX-License-Identifier: Apache-2.0 */
/* env.c - environments: "NAME=value" strings of which the last one wins */
#include "env.h"

#include "user.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_DEFAULT                                                           \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

char **env_free(char **env)
{
	for (char **p = env; p && *p; p++)
		free(*p);
	free(env);
	return NULL;
}

/* Where @name (so many characters) is, or the end's index. */
static size_t find(char *const *env, const char *name, size_t len)
{
	size_t i = 0;

	for (; env && env[i]; i++)
		if (!strncmp(env[i], name, len) && env[i][len] == '=')
			break;
	return i;
}

static void set_string(char ***env, char *string)
{
	size_t i = find(*env, string, strcspn(string, "="));

	if (*env && (*env)[i]) {
		free((*env)[i]);
	} else {
		*env = xrealloc(*env, i + 2, sizeof(char *));
		(*env)[i + 1] = NULL;
	}
	(*env)[i] = string;
}

void env_set(char ***env, const char *name, const char *value)
{
	set_string(env, xasprintf("%s=%s", name, value));
}

void env_merge(char ***env, char *const *from)
{
	for (; from && *from; from++)
		set_string(env, xstrdup(*from));
}

const char *env_get(char *const *env, const char *name)
{
	size_t len = strlen(name);
	size_t i = find(env, name, len);

	return env && env[i] ? env[i] + len + 1 : NULL;
}

bool env_is_name(const char *name)
{
	return *name && !strchr(name, '=');
}

int env_from_pairs(char ***ret, const char *field, size_t n,
		   void (*pair)(const void *arg, size_t i, const char **name,
				const char **value),
		   const void *arg, struct error *err)
{
	char **env = NULL;
	size_t bytes = 0;

	if (n > ENV_COUNT_MAX)
		return err_field(err, field, "more than %d variables",
				 ENV_COUNT_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *name, *value;

		pair(arg, i, &name, &value);
		bytes += strlen(name) + strlen(value) + 2;
		if (!env_is_name(name)) {
			env_free(env);
			return err_field(err, field,
					 "'%.64s' is no variable's name", name);
		}
		if (bytes > ENV_BYTES_MAX) {
			env_free(env);
			return err_field(err, field, "more than %u bytes",
					 ENV_BYTES_MAX);
		}
		env_set(&env, name, value);
	}
	*ret = env;
	return 0;
}

char **env_default(const struct user *user, bool has_pty)
{
	const char *name = user->name[0] ? user->name : NULL;
	char number[16];
	char **env = NULL;

	if (!name) {
		snprintf(number, sizeof(number), "%u", user->uid);
		name = number;
	}
	env_set(&env, "PATH", PATH_DEFAULT);
	env_set(&env, "HOME", user->home);
	env_set(&env, "USER", name);
	env_set(&env, "LOGNAME", name);
	env_set(&env, "SHELL", user->shell);
	env_set(&env, "LANG", "C.UTF-8");
	if (has_pty)
		env_set(&env, "TERM", "xterm-256color");
	return env;
}
