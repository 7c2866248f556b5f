/* SPDX-License-Identifier: Apache-2.0 */
/* installed.c - programs of ours that sandboxctl runs */
#include "ctl/installed.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *installed_path(const char *name, const char *source)
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	/* A build tree has a config.status beside the program. */
	if (len > 0) {
		_cleanup_free_ char *status = NULL;
		const char *dir;

		exe[len] = '\0';
		dir = dirname(exe);
		status = xasprintf("%s/config.status", dir);
		if (access(status, F_OK) == 0)
			return source ? xasprintf("%s/%s", TOP_SRCDIR, source) :
					xasprintf("%s/%s", dir, name);
	}
	return xasprintf("%s/%s", PKGLIBEXECDIR, name);
}

int installed_exec(const char *name, char **argv)
{
	_cleanup_free_ char *path = installed_path(name, NULL);

	execv(path, argv);
	fprintf(stderr, "sandboxctl: %s: %s\n", path, strerror(errno));
	return CTL_REFUSED;
}
