/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd: options, configuration, exit status */
#include "base/error.h"
#include "base/log.h"
#include "engine/config.h"
#include "engine/daemon.h"
#include "engine/fsck.h"

#include <getopt.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ARENAS_MAX 2
#define MMAP_FROM  (128 << 10)

enum { OPT_CONFIG = 1, OPT_CHECK, OPT_FSCK, OPT_REPAIR, OPT_DEBUG, OPT_VERSION, OPT_HELP };

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "fsck", no_argument, NULL, OPT_FSCK },
	{ "repair", no_argument, NULL, OPT_REPAIR },
	{ "debug", no_argument, NULL, OPT_DEBUG },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static void help(void)
{
	puts("usage: sandboxd [--config FILE] [--check-config] [--debug]\n"
	     "Makes this host a compute node for sandboxes.\n"
	     "\n"
	     "  --config FILE   default: " CONFIG_DEFAULT_PATH "\n"
	     "  --check-config  read it, say what is wrong with it, and end\n"
	     "  --fsck          check the state directory while no daemon "
	     "runs, and end\n"
	     "  --repair        with --fsck: and put right what can be\n"
	     "  --debug         log more\n"
	     "  --version\n"
	     "  --help\n"
	     "\n"
	     "SIGHUP reads the configuration again; SIGTERM ends the daemon "
	     "and leaves guests running.");
}

/* What saves and restores need is large and short-lived, and by as many threads
 * as there are CPUs: it goes back to the host instead of staying in an arena of
 * each.
 */
static void tame_malloc(void)
{
	mallopt(M_ARENA_MAX, ARENAS_MAX);
	mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
	mallopt(M_TRIM_THRESHOLD, MMAP_FROM);
}

int main(int argc, char **argv)
{
	const char *path = CONFIG_DEFAULT_PATH;
	bool check = false, debug = false, given = false;
	bool fsck = false, repair = false;
	struct config *config;
	struct error err;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case OPT_CONFIG:
			path = optarg;
			given = true;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_FSCK:
			fsck = true;
			break;
		case OPT_REPAIR:
			repair = true;
			break;
		case OPT_DEBUG:
			debug = true;
			break;
		case OPT_VERSION:
			puts(PACKAGE_STRING);
			return 0;
		case OPT_HELP:
			help();
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sandboxd: '%s' is no option\n", argv[optind]);
		return 2;
	}
	if (repair && !fsck) {
		fprintf(stderr, "sandboxd: --repair goes with --fsck\n");
		return 2;
	}
	tame_malloc();
	log_open("sandboxd", debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (config_load(path, !given, &config, &err) < 0) {
		fprintf(stderr, "sandboxd: %s\n", err.msg);
		return 1;
	}
	if (check) {
		config_free(config);
		return 0;
	}
	if (fsck) {
		int status = fsck_offline(config, repair);

		config_free(config);
		return status;
	}
	return daemon_run(config, path);
}
