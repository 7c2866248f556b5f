/* SPDX-License-Identifier: Apache-2.0 */
/* user.h - who a process runs as, from the image's own passwd and group
 *
 * Read afresh each time: programs in the guest add users. No NSS: a static
 * program has none, and the image's modules are not ours to load.
 */
#ifndef AGENT_USER_H
#define AGENT_USER_H

#include <sys/types.h>

struct error;

#define USER_NAME_MAX	256
#define USER_GROUPS_MAX 256
/* Bytes of /etc/passwd and /etc/group each that are looked at. */
#define USER_FILE_MAX (4u << 20)

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX]; /* supplementary, with gid */
	size_t n_groups;
	char name[USER_NAME_MAX]; /* empty: the uid has none */
	char home[4096];	  /* "/" if nothing is known */
	char shell[4096];	  /* "/bin/sh" if nothing is known */
};

/**
 * user_parse() - The same as user_lookup(), of given texts
 * @passwd:	/etc/passwd, or ""
 * @group:	/etc/group, or ""
 */
int user_parse(const char *spec, const char *passwd, const char *group,
	       struct user *ret, struct error *err);

/**
 * user_lookup() - Find "name", "uid", "name:group" or "uid:gid" in the image
 * @spec:	Empty: root
 *
 * A number that passwd does not know is fine; a name is not.
 *
 * Return: 0, or -1 with *@err set (ERR_INVALID, no field)
 */
int user_lookup(const char *spec, struct user *ret, struct error *err);

#endif /* AGENT_USER_H */
