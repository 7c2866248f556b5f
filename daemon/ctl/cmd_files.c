/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_files.c - a sandbox's files: ls, stat, mkdir, rm, mv, cat, search, watch
 *
 * Names come from the guest. On a terminal they are printed harmless; into a
 * pipe as they are, for programs.
 */
#include "ctl/ctl.h"

#include "ctl/json.h"
#include "ctl/out.h"
#include "ctl/text.h"

#include "base/fd.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_name(const ProtobufCBinaryData *b)
{
	_cleanup_free_ char *safe = NULL;

	if (!isatty(STDOUT_FILENO)) {
		fwrite(b->data, 1, b->len, stdout);
		return;
	}
	safe = text_safe_bytes(b);
	fputs(safe, stdout);
}

static char type_letter(NODE(FileType) type)
{
	switch ((int)type) {
	case NODE_ENUM(FILE_TYPE, REGULAR):
		return '-';
	case NODE_ENUM(FILE_TYPE, DIRECTORY):
		return 'd';
	case NODE_ENUM(FILE_TYPE, SYMLINK):
		return 'l';
	default:
		return '?';
	}
}

/* "drwxr-xr-x" */
static void mode_text(char dst[11], const NODE(FileInfo) * f)
{
	static const char letters[] = "rwxrwxrwx";

	dst[0] = type_letter(f->type);
	for (int i = 0; i < 9; i++)
		dst[i + 1] = f->mode & (0400u >> i) ? letters[i] : '-';
	if (f->mode & 04000)
		dst[3] = f->mode & 0100 ? 's' : 'S';
	if (f->mode & 02000)
		dst[6] = f->mode & 0010 ? 's' : 'S';
	if (f->mode & 01000)
		dst[9] = f->mode & 0001 ? 't' : 'T';
	dst[10] = '\0';
}

static void print_long(const NODE(FileInfo) * f)
{
	char mode[11], time[CTL_TIME_MAX];

	mode_text(mode, f);
	printf("%s %5u %5u %12" PRIu64 " %s ", mode, f->uid, f->gid,
	       f->size_bytes, ctl_time(time, f->modified_at));
	print_name(&f->name);
	if (f->link_target.len) {
		fputs(" -> ", stdout);
		print_name(&f->link_target);
	}
	putchar('\n');
}

static void print_entry(const struct ctl *ctl, const NODE(FileInfo) * f,
			bool first)
{
	if (ctl->json) {
		if (!first)
			putchar(',');
		json_message(stdout, &f->base);
	} else if (options_has(ctl->options, "long")) {
		print_long(f);
	} else {
		print_name(&f->name);
		putchar('\n');
	}
}

static int cmd_ls(struct ctl *ctl)
{
	NODE(ListDirectoryRequest) req = NODE_INIT(LIST_DIRECTORY_REQUEST);
	_cleanup_free_ uint8_t *after = NULL;
	bool first = true;
	bool more = true;
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	req.path = pb_bytes(
		options_words(ctl->options, NULL) > 1 ? ctl_word(ctl, 1) : ".");
	while (more) {
		_cleanup_(message_freep) ProtobufCMessage *m = NULL;
		const NODE(ListDirectoryResponse) * r;

		m = ctl_call(ctl, "ListDirectory", &req.base, &status);
		if (!m)
			return status;
		r = (const NODE(ListDirectoryResponse) *)m;
		if (ctl->json && first)
			putchar('[');
		for (size_t i = 0; i < r->n_entries; i++) {
			print_entry(ctl, r->entries[i], first);
			first = false;
		}
		more = r->has_more && r->n_entries > 0;
		if (more) {
			const ProtobufCBinaryData *last =
				&r->entries[r->n_entries - 1]->name;

			free(after);
			after = xmemdup(last->data, last->len);
			req.after_name.data = after;
			req.after_name.len = last->len;
		}
		if (ctl->json && !more)
			puts("]");
	}
	return CTL_OK;
}

static int cmd_stat(struct ctl *ctl)
{
	NODE(StatFileRequest) req = NODE_INIT(STAT_FILE_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(FileInfo) * f;
	char mode[11], time[CTL_TIME_MAX];
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	req.path = pb_bytes(ctl_word(ctl, 1));
	req.follow_symlinks = options_has(ctl->options, "follow");
	m = ctl_call(ctl, "StatFile", &req.base, &status);
	if (!m)
		return status;
	f = ((const NODE(StatFileResponse) *)m)->info;
	if (ctl->json) {
		ctl_print_json(m);
	} else if (f) {
		mode_text(mode, f);
		fputs("name      ", stdout);
		print_name(&f->name);
		if (f->link_target.len) {
			fputs("\ntarget    ", stdout);
			print_name(&f->link_target);
		}
		printf("\nsize      %" PRIu64 "\nmode      %04o %s\n"
		       "owner     %u:%u\nmodified  %s\n",
		       f->size_bytes, f->mode, mode, f->uid, f->gid,
		       ctl_time(time, f->modified_at));
	}
	return CTL_OK;
}

static int cmd_mkdir(struct ctl *ctl)
{
	NODE(MakeDirectoryRequest) req = NODE_INIT(MAKE_DIRECTORY_REQUEST);

	req.sandbox_id = ctl_word(ctl, 0);
	req.path = pb_bytes(ctl_word(ctl, 1));
	req.make_parents = options_has(ctl->options, "parents");
	return ctl_simple(ctl, "MakeDirectory", &req.base);
}

static int cmd_rm(struct ctl *ctl)
{
	NODE(RemoveFileRequest) req = NODE_INIT(REMOVE_FILE_REQUEST);

	req.sandbox_id = ctl_word(ctl, 0);
	req.path = pb_bytes(ctl_word(ctl, 1));
	req.recursive = options_has(ctl->options, "recursive");
	req.missing_ok = options_has(ctl->options, "force");
	return ctl_simple(ctl, "RemoveFile", &req.base);
}

static int cmd_mv(struct ctl *ctl)
{
	NODE(MoveFileRequest) req = NODE_INIT(MOVE_FILE_REQUEST);

	req.sandbox_id = ctl_word(ctl, 0);
	req.from_path = pb_bytes(ctl_word(ctl, 1));
	req.to_path = pb_bytes(ctl_word(ctl, 2));
	req.no_replace = options_has(ctl->options, "no-replace");
	return ctl_simple(ctl, "MoveFile", &req.base);
}

/* ---- streams from the node ---- */

static int on_file_data(struct ctl *ctl, const ProtobufCMessage *m, void *arg)
{
	const NODE(ReadFileResponse) *r = (const NODE(ReadFileResponse) *)m;
	int e;

	(void)ctl;
	(void)arg;
	e = out_write(r->data.data, r->data.len);
	if (e < 0 && e != -EPIPE)
		fprintf(stderr, "sandboxctl: standard output: %s\n",
			strerror(-e));
	return e < 0 ? -1 : 0;
}

static int cmd_cat(struct ctl *ctl)
{
	NODE(ReadFileRequest) req = NODE_INIT(READ_FILE_REQUEST);
	struct error err = { 0 };

	req.sandbox_id = ctl_word(ctl, 0);
	req.path = pb_bytes(ctl_word(ctl, 1));
	if (options_u64(ctl->options, "offset", &req.offset, &err) < 0 ||
	    options_u64(ctl->options, "length", &req.length, &err) < 0)
		return ctl_usage(&err);
	return ctl_stream(ctl, "ReadFile", &req.base, on_file_data, NULL);
}

/* A name that the node tells below @base, as a path that other commands take. */
static void print_below(const ProtobufCBinaryData *base,
			const ProtobufCBinaryData *name)
{
	print_name(base);
	if (base->len && name->len && base->data[base->len - 1] != '/')
		putchar('/');
	print_name(name);
}

struct search {
	ProtobufCBinaryData base; /* as the user gave it */
	size_t n;		  /* matches so far */
};

static void print_match(const struct search *search,
			const NODE(SearchMatch) * s)
{
	/* The file itself was searched: there is nothing below it. */
	print_below(&search->base, &s->path);
	printf(":%u:", s->line_number);
	print_name(&s->line);
	putchar('\n');
}

/* arg: a struct search. */
static int on_matches(struct ctl *ctl, const ProtobufCMessage *m, void *arg)
{
	const NODE(SearchFilesResponse) *r =
		(const NODE(SearchFilesResponse) *)m;
	struct search *search = arg;

	for (size_t i = 0; i < r->n_matches; i++, search->n++) {
		if (!ctl->json) {
			print_match(search, r->matches[i]);
			continue;
		}
		if (search->n)
			putchar(',');
		json_message(stdout, &r->matches[i]->base);
	}
	if (r->truncated)
		fputs("sandboxctl: there are more matches than --max allows\n",
		      stderr);
	return 0;
}

static int cmd_search(struct ctl *ctl)
{
	NODE(SearchFilesRequest) req = NODE_INIT(SEARCH_FILES_REQUEST);
	const struct options *o = ctl->options;
	struct search search = { .base = pb_bytes(ctl_word(ctl, 2)) };
	struct error err = { 0 };
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	req.pattern = pb_bytes(ctl_word(ctl, 1));
	req.path = search.base;
	req.literal = options_has(o, "literal");
	req.ignore_case = options_has(o, "ignore-case");
	req.file_glob = pb_bytes(options_get(o, "glob"));
	if (options_u32(o, "max", 1, 10000, &req.max_matches, &err) < 0)
		return ctl_usage(&err);
	if (ctl->json)
		putchar('[');
	status = ctl_stream(ctl, "SearchFiles", &req.base, on_matches, &search);
	if (ctl->json)
		puts("]");
	return status;
}

static int on_file_event(struct ctl *ctl, const ProtobufCMessage *m, void *arg)
{
	static const char *const names[] = { "?",	   "ready",   "created",
					     "modified",   "removed", "moved",
					     "attributes", "overflow" };
	const NODE(WatchDirectoryResponse) *r =
		(const NODE(WatchDirectoryResponse) *)m;
	const ProtobufCBinaryData *base = arg;
	unsigned int type = (unsigned int)r->type;

	if (ctl->json) {
		json_message(stdout, m);
	} else {
		if (type >= sizeof(names) / sizeof(names[0]))
			type = 0;
		fputs(names[type], stdout);
		if (r->path.len) {
			putchar('\t');
			print_below(base, &r->path);
		}
		if (r->to_path.len) {
			fputs("\t-> ", stdout);
			print_below(base, &r->to_path);
		}
	}
	putchar('\n');
	return fflush(stdout) == 0 ? 0 : -1;
}

static int cmd_watch(struct ctl *ctl)
{
	NODE(WatchDirectoryRequest) req = NODE_INIT(WATCH_DIRECTORY_REQUEST);

	req.sandbox_id = ctl_word(ctl, 0);
	req.path = pb_bytes(ctl_word(ctl, 1));
	req.recursive = !options_has(ctl->options, "flat");
	return ctl_stream(ctl, "WatchDirectory", &req.base, on_file_event,
			  &req.path);
}

static const struct option_def ls_options[] = {
	{ "long", 'l', NULL, false, "modes, owners, sizes, times" },
	{ 0 },
};
static const struct option_def stat_options[] = {
	{ "follow", 'L', NULL, false, "what a symbolic link points to" },
	{ 0 },
};
static const struct option_def mkdir_options[] = {
	{ "parents", 'p', NULL, false, "with its parents; it may be there" },
	{ 0 },
};
static const struct option_def rm_options[] = {
	{ "recursive", 'r', NULL, false, "a directory with all it holds" },
	{ "force", 'f', NULL, false, "no error if it is not there" },
	{ 0 },
};
static const struct option_def mv_options[] = {
	{ "no-replace", 'n', NULL, false, "refuse if TO is there" },
	{ 0 },
};
static const struct option_def cat_options[] = {
	{ "offset", 0, "N", false, "from this byte on" },
	{ "length", 0, "N", false, "so many bytes" },
	{ 0 },
};
static const struct option_def search_options[] = {
	{ "literal", 'F', NULL, false, "PATTERN is plain text" },
	{ "ignore-case", 'i', NULL, false, "A is a" },
	{ "glob", 0, "G", false, "only files named so" },
	{ "max", 0, "N", false, "at most so many matches, 1 to 10000" },
	{ 0 },
};
static const struct option_def watch_options[] = {
	{ "flat", 0, NULL, false, "not below its directories" },
	{ 0 },
};

const struct command files_commands[] = {
	{ "ls", "[-l] ID [PATH]", "list a directory", 1, 2, false, ls_options,
	  cmd_ls },
	{ "stat", "ID PATH", "tell about a file", 2, 2, false, stat_options,
	  cmd_stat },
	{ "mkdir", "[-p] ID PATH", "make a directory", 2, 2, false,
	  mkdir_options, cmd_mkdir },
	{ "rm", "[-r] [-f] ID PATH", "remove", 2, 2, false, rm_options,
	  cmd_rm },
	{ "mv", "ID FROM TO", "rename", 3, 3, false, mv_options, cmd_mv },
	{ "cat", "ID PATH", "print a file", 2, 2, false, cat_options, cmd_cat },
	{ "search", "ID PATTERN [PATH]", "search the text of files", 2, 3,
	  false, search_options, cmd_search },
	{ "watch", "ID PATH", "print changes below a directory", 2, 2, false,
	  watch_options, cmd_watch },
	{ 0 },
};
