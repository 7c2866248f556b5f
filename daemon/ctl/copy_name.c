/* SPDX-License-Identifier: Apache-2.0 */
/* copy_name.c - names and paths of a copy */
#include "ctl/copy_name.h"

#include "base/mem.h"

#include <limits.h>
#include <string.h>

#define ID_SET                                                                 \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."

bool copy_name_ok(const void *name, size_t len)
{
	if (len == 0 || len > NAME_MAX)
		return false;
	if (memchr(name, '/', len) || memchr(name, '\0', len))
		return false;
	if (len <= 2 && memcmp(name, "..", len) == 0)
		return false;
	return true;
}

char *copy_split(const char *arg, const char **ret_path)
{
	size_t len = strspn(arg, ID_SET);

	if (len == 0 || arg[len] != ':' || arg[0] == '.')
		return NULL;
	*ret_path = arg[len + 1] ? arg + len + 1 : ".";
	return xasprintf("%.*s", (int)len, arg);
}

char *copy_join(const char *dir, const char *name)
{
	size_t len = strlen(dir);

	if (len == 0)
		return xstrdup(name);
	return xasprintf("%s%s%s", dir, dir[len - 1] == '/' ? "" : "/", name);
}

/* Length without the slashes at its end. */
static size_t trimmed(const char *path)
{
	size_t len = strlen(path);

	while (len > 0 && path[len - 1] == '/')
		len--;
	return len;
}

static size_t base_at(const char *path, size_t len)
{
	while (len > 0 && path[len - 1] != '/')
		len--;
	return len;
}

char *copy_base(const char *path)
{
	size_t len = trimmed(path);
	size_t at = base_at(path, len);

	if (!copy_name_ok(path + at, len - at))
		return NULL;
	return xasprintf("%.*s", (int)(len - at), path + at);
}

char *copy_dir(const char *path)
{
	size_t at = base_at(path, trimmed(path));

	if (at == 0)
		return xstrdup(*path == '/' ? "/" : ".");
	return xasprintf("%.*s", (int)at, path);
}

bool copy_is_dir_path(const char *path)
{
	size_t len = strlen(path);

	return len > 0 && path[len - 1] == '/';
}
