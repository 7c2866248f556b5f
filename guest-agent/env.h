/* SPDX-License-Identifier: Apache-2.0 */
/* env.h - environments: "NAME=value" strings of which the last one wins */
#ifndef AGENT_ENV_H
#define AGENT_ENV_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct user;

/* Variables and bytes that one environment may have. */
#define ENV_COUNT_MAX 2048
#define ENV_BYTES_MAX (512u << 10)

/* NULL-terminated, all of it on the heap; NULL is an empty one. */
char **env_free(char **env);

/* Set a variable, replacing one of this name. */
void env_set(char ***env, const char *name, const char *value);

/* All of @from into @env. */
void env_merge(char ***env, char *const *from);

/* The value, borrowed; NULL: not set. */
const char *env_get(char *const *env, const char *name);

/* Whether @name can be a variable's: not empty, no '='. */
bool env_is_name(const char *name);

/**
 * env_from_pairs() - Check variables that came in a message
 * @field:	For the error
 * @pair:	Gives name and value of the i-th one
 */
int env_from_pairs(char ***ret, const char *field, size_t n,
		   void (*pair)(const void *arg, size_t i, const char **name,
				const char **value),
		   const void *arg, struct error *err);

/* What every process starts with: PATH, HOME, USER, LOGNAME, SHELL, LANG, and
 * TERM on a terminal.
 */
char **env_default(const struct user *user, bool has_pty);

#endif /* AGENT_ENV_H */
