/* SPDX-License-Identifier: Apache-2.0 */
/* command.c - what was said on the command line, to the command that does it
 *
 * It speaks the node's public gRPC API and nothing else: whatever it can do, a
 * control plane can do.
 */
#include "ctl/ctl.h"

#include "base/loop.h"
#include "ctl/installed.h"
#include "ctl/out.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_CONNECT "unix:/run/sandboxd/node.sock"

const struct option_def ctl_global_options[] = {
	{ "connect", 0, "unix:PATH|HOST:PORT", false, "where the node is" },
	{ "cert", 0, "FILE", false, "our certificate (PEM)" },
	{ "key", 0, "FILE", false, "its private key" },
	{ "ca", 0, "FILE", false, "who signs the node's certificate" },
	{ "json", 0, NULL, false, "print JSON" },
	{ "help", 'h', NULL, false, "say how it is used" },
	{ "version", 0, NULL, false, "print the version" },
	{ 0 },
};

const struct command *const ctl_groups[] = {
	sandbox_commands, exec_commands,
	copy_commands,	  files_commands,
	ports_commands,	  snapshot_commands,
	events_commands,  image_commands,
	node_commands,	  NULL,
};

static const struct command *find_name(const char *name)
{
	for (size_t g = 0; ctl_groups[g]; g++) {
		for (const struct command *c = ctl_groups[g]; c->name; c++) {
			if (strcmp(c->name, name) == 0)
				return c;
		}
	}
	return NULL;
}

/* Two words before one: "node drain" before "node". */
static const struct command *find_command(int argc, char **argv, int *used)
{
	const struct command *c;
	char two[64];

	if (argc > 1 && (size_t)snprintf(two, sizeof(two), "%s %s", argv[0],
					 argv[1]) < sizeof(two)) {
		c = find_name(two);
		*used = 2;
		if (c)
			return c;
	}
	*used = 1;
	return find_name(argv[0]);
}

static void print_options(const struct option_def *o)
{
	for (; o && o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%c%c%c --%s%s%s%s",
			 o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			 o->letter ? ',' : ' ', o->name, o->value ? " " : "",
			 o->value ? o->value : "", o->many ? ".." : "");
		printf("  %-34s %s\n", left, o->help);
	}
}

static int help_command(const struct command *c)
{
	printf("Usage: sandboxctl %s%s%s\n\n%s\n", c->name, *c->args ? " " : "",
	       c->args, c->help);
	if (c->options) {
		puts("\nOptions:");
		print_options(c->options);
	}
	return CTL_OK;
}

static int help_all(void)
{
	puts("Usage: sandboxctl [OPTIONS] COMMAND ...\n");
	for (size_t g = 0; ctl_groups[g]; g++) {
		for (const struct command *c = ctl_groups[g]; c->name; c++)
			printf("  %-17s %-44s %s\n", c->name, c->args, c->help);
	}
	puts("\nOptions, before or after the command:");
	print_options(ctl_global_options);
	puts("\nExit status: 0 done, 1 refused by the node, 2 wrong usage, "
	     "3 no connection;\nexec: the command's own, 128+N for signal N.");
	return CTL_OK;
}

static int unknown_command(char **argv, int argc)
{
	size_t len = strlen(argv[0]);
	bool group = false;

	for (size_t g = 0; ctl_groups[g]; g++) {
		for (const struct command *c = ctl_groups[g]; c->name; c++) {
			if (strncmp(c->name, argv[0], len) != 0 ||
			    c->name[len] != ' ')
				continue;
			fprintf(stderr, "%s'%s'",
				group ? ", " : "sandboxctl: there is ",
				c->name);
			group = true;
		}
	}
	if (!group)
		fprintf(stderr, "sandboxctl: unknown command '%s'", argv[0]);
	else if (argc > 1)
		fprintf(stderr, ", but no '%s %s'", argv[0], argv[1]);
	fputs("; see sandboxctl --help\n", stderr);
	return CTL_USAGE;
}

static int check_words(const struct ctl *ctl, const struct command *c)
{
	size_t n = options_words(ctl->options, NULL);
	char **rest;
	size_t n_rest = options_rest(ctl->options, &rest);

	if (n < c->words_min || n > c->words_max ||
	    (c->rest ? n_rest == 0 : n_rest > 0)) {
		fprintf(stderr, "Usage: sandboxctl %s%s%s\n", c->name,
			*c->args ? " " : "", c->args);
		return CTL_USAGE;
	}
	return CTL_OK;
}

static bool is_unix(const char *address)
{
	return strncmp(address, "unix:", 5) == 0;
}

static int fill_target(struct ctl *ctl)
{
	const struct options *o = ctl->options;
	struct client_target *t = &ctl->target;

	t->address = options_get(o, "connect");
	if (!t->address)
		t->address = getenv("SANDBOXD_CONNECT");
	if (!t->address || !*t->address)
		t->address = DEFAULT_CONNECT;
	t->cert = options_get(o, "cert");
	t->key = options_get(o, "key");
	t->ca = options_get(o, "ca");
	if (!is_unix(t->address) && (!t->cert || !t->key || !t->ca)) {
		fprintf(stderr,
			"sandboxctl: --connect %s needs --cert, --key and "
			"--ca\n",
			t->address);
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct command *c;
	struct error err = { 0 };
	int used;
	int n;

	used = options_parse(ctl->options, ctl_global_options, NULL, argc, argv,
			     true, &err);
	if (used < 0)
		return ctl_usage(&err);
	if (options_has(ctl->options, "version")) {
		puts("sandboxctl " PACKAGE_VERSION);
		return CTL_OK;
	}
	argc -= used;
	argv += used;
	if (argc == 0) {
		if (options_has(ctl->options, "help"))
			return help_all();
		fputs("sandboxctl: no command; see sandboxctl --help\n",
		      stderr);
		return CTL_USAGE;
	}
	c = find_command(argc, argv, &n);
	if (!c)
		return unknown_command(argv, argc);
	if (options_parse(ctl->options, ctl_global_options, c->options,
			  argc - n, argv + n, false, &err) < 0)
		return ctl_usage(&err);
	if (options_has(ctl->options, "help"))
		return help_command(c);
	n = check_words(ctl, c);
	if (n == CTL_OK)
		n = fill_target(ctl);
	if (n != CTL_OK)
		return n;
	if (!is_unix(ctl->target.address) && !ctl->target.tls)
		return CTL_NEEDS_TLS;
	options_hide(ctl->options, "env");
	ctl->json = options_has(ctl->options, "json");
	return c->run(ctl);
}

int ctl_main(int argc, char **argv, const struct dial_tls *tls)
{
	struct ctl ctl = { .target.tls = tls };
	struct error err = { 0 };
	int status;

	signal(SIGPIPE, SIG_IGN);
	out_init();
	if (loop_new(&ctl.loop, &err) < 0)
		return ctl_local(&err);
	ctl.options = options_new();
	status = run(&ctl, argc - 1, argv + 1);
	out_watch(NULL);
	ctl.client = client_free(ctl.client);
	ctl.options = options_free(ctl.options);
	ctl.loop = loop_free(ctl.loop);
	if (status == CTL_NEEDS_TLS)
		return installed_exec("sandboxctl-tls", argv);
	if (fflush(stdout) != 0 && status == CTL_OK) {
		perror("sandboxctl: standard output");
		status = CTL_REFUSED;
	}
	return status;
}
