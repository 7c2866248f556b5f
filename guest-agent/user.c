/* SPDX-License-Identifier: Apache-2.0 */
/* user.c - who a process runs as, from the image's own passwd and group */
#include "user.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define FIELDS_MAX 7
/* (uid_t)-1 means "unchanged" to setresuid(). */
#define ID_MAX 0xfffffffeu

/* The next line of *@text, cut at ':' into @fields; false at the end. Lines
 * too long for @line are passed over.
 */
static bool next_line(const char **text, char *line, size_t size,
		      char *fields[FIELDS_MAX], size_t *n_fields)
{
	while (**text) {
		size_t len = strcspn(*text, "\n");
		const char *begin = *text;
		char *p = line;

		*text += len + (begin[len] == '\n');
		if (len == 0 || len >= size || *begin == '#')
			continue;
		memcpy(line, begin, len);
		line[len] = '\0';
		*n_fields = 0;
		while (p && *n_fields < FIELDS_MAX)
			fields[(*n_fields)++] = strsep(&p, ":");
		return true;
	}
	return false;
}

static bool parse_id(const char *s, uint32_t *ret)
{
	uint64_t v;

	if (str_parse_u64(s, ID_MAX, &v) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* By name, or by number when the name is one and nobody is called so. */
static bool find_passwd(const char *passwd, const char *who, struct user *u)
{
	_cleanup_free_ char *line = xcalloc(1, 8192);
	char *f[FIELDS_MAX];
	size_t n;
	uint32_t id = 0, uid, gid;
	bool by_id = parse_id(who, &id);

	for (int pass = 0; pass < (by_id ? 2 : 1); pass++) {
		const char *text = passwd;

		while (next_line(&text, line, 8192, f, &n)) {
			if (n < 4 || !parse_id(f[2], &uid) ||
			    !parse_id(f[3], &gid))
				continue;
			if (pass == 0 ? strcmp(f[0], who) != 0 : uid != id)
				continue;
			u->uid = uid;
			u->gid = gid;
			if (str_copy(u->name, sizeof(u->name), f[0]) < 0)
				return false;
			if (n > 5 && f[5][0] == '/')
				str_copy(u->home, sizeof(u->home), f[5]);
			if (n > 6 && f[6][0] == '/')
				str_copy(u->shell, sizeof(u->shell), f[6]);
			return true;
		}
	}
	return false;
}

static bool find_group(const char *group, const char *who, gid_t *ret)
{
	_cleanup_free_ char *line = xcalloc(1, 8192);
	char *f[FIELDS_MAX];
	size_t n;
	uint32_t gid;

	while (next_line(&group, line, 8192, f, &n)) {
		if (n < 3 || strcmp(f[0], who) != 0 || !parse_id(f[2], &gid))
			continue;
		*ret = gid;
		return true;
	}
	return parse_id(who, ret);
}

static bool list_has(char *list, const char *name)
{
	char *item;

	while ((item = strsep(&list, ",")))
		if (!strcmp(item, name))
			return true;
	return false;
}

static void add_groups(const char *group, struct user *u)
{
	/* A group's members come on one line, however many. */
	size_t size = strlen(group) + 1;
	_cleanup_free_ char *line = xcalloc(1, size);
	char *f[FIELDS_MAX];
	size_t n;
	uint32_t gid;

	while (u->name[0] && u->n_groups < USER_GROUPS_MAX &&
	       next_line(&group, line, size, f, &n)) {
		if (n < 4 || !parse_id(f[2], &gid) || gid == u->gid)
			continue;
		if (list_has(f[3], u->name))
			u->groups[u->n_groups++] = gid;
	}
}

int user_parse(const char *spec, const char *passwd, const char *group,
	       struct user *ret, struct error *err)
{
	_cleanup_free_ struct user *u = xcalloc(1, sizeof(*u));
	char who[USER_NAME_MAX];
	const char *colon;
	bool given = false;

	if (str_empty(spec))
		spec = "0";
	if (str_copy(who, sizeof(who), spec) < 0)
		return err_set(err, ERR_INVALID,
			       "user: longer than %d characters",
			       USER_NAME_MAX - 1);
	colon = strchr(spec, ':');
	if (colon)
		who[colon - spec] = '\0';
	strcpy(u->home, "/");
	strcpy(u->shell, "/bin/sh");
	if (!find_passwd(passwd, who, u)) {
		if (!parse_id(who, &u->uid))
			return err_set(err, ERR_INVALID,
				       "user '%s' is not in /etc/passwd", who);
		if (u->uid == 0) {
			strcpy(u->name, "root");
			strcpy(u->home, "/root");
		}
	}
	if (colon) {
		given = true;
		if (!find_group(group, colon + 1, &u->gid))
			return err_set(err, ERR_INVALID,
				       "group '%s' is not in /etc/group",
				       colon + 1);
	}
	u->groups[u->n_groups++] = u->gid;
	if (!given)
		add_groups(group, u);
	*ret = *u;
	return 0;
}

/* Of what the guest's root may have put there: nothing that could block. */
static char *read_text(const char *path)
{
	_cleanup_close_ int fd = -EBADF;
	char *text;
	struct stat st;

	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size > (off_t)USER_FILE_MAX)
		return xstrdup("");
	text = xcalloc(1, (size_t)st.st_size + 1);
	if (fd_read_full(fd, text, (size_t)st.st_size) < 0)
		text[0] = '\0';
	return text;
}

int user_lookup(const char *spec, struct user *ret, struct error *err)
{
	_cleanup_free_ char *passwd = read_text("/etc/passwd");
	_cleanup_free_ char *group = read_text("/etc/group");

	return user_parse(spec, passwd, group, ret, err);
}
