/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_image.c - image list, import, build, remove; template list, build, remove
 */
#include "ctl/ctl.h"

#include "ctl/json.h"
#include "ctl/recipe.h"
#include "ctl/text.h"
#include "ctl/upload.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef NODE(ImportImageStart__EnvEntry) env_entry;

static int cmd_list(struct ctl *ctl)
{
	static const char *const head[] = { "NAME",    "SIZE",	 "SOURCE",
					    "CREATED", "DIGEST", NULL };
	NODE(ListImagesRequest) req = NODE_INIT(LIST_IMAGES_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(ListImagesResponse) * r;
	char time[CTL_TIME_MAX], size[TEXT_SIZE_MAX];
	struct table *t;
	int status;

	m = ctl_call(ctl, "ListImages", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json) {
		ctl_print_json(m);
		return CTL_OK;
	}
	r = (const NODE(ListImagesResponse) *)m;
	t = table_new(head);
	for (size_t i = 0; i < r->n_images; i++) {
		const NODE(Image) *image = r->images[i];

		table_cell(t, "%s", image->name);
		table_cell(t, "%s", text_size(size, image->size_bytes));
		table_cell(t, "%s", image->source);
		table_cell(t, "%s", ctl_time(time, image->created_at));
		table_cell(t, "%.19s", image->digest);
	}
	table_print(t, stdout);
	table_free(t);
	return CTL_OK;
}

static int cmd_remove(struct ctl *ctl)
{
	NODE(RemoveImageRequest) req = NODE_INIT(REMOVE_IMAGE_REQUEST);

	req.request_id = ctl_request_id();
	req.name = ctl_word(ctl, 0);
	return ctl_simple(ctl, "RemoveImage", &req.base);
}

/* ---- import and build ---- */

/* A step on the terminal, or where there is none a line for each new one. */
static void show_step(struct progress *p, const NODE(Progress) * step,
		      char last[static 64])
{
	char line[64];

	progress_show(p, step->step, step->done, step->total);
	snprintf(line, sizeof(line), "%s", step->step);
	if (p->tty < 0 && strcmp(line, last) != 0)
		fprintf(stderr, "%s\n", line);
	memcpy(last, line, sizeof(line));
}

static const ProtobufCMessage *wrap(const uint8_t *data, size_t len)
{
	static NODE(ImportImageRequest) req;

	sandbox__node__v1__import_image_request__init(&req);
	req.input_case = NODE_CASE(IMPORT_IMAGE_REQUEST__INPUT, DATA);
	req.data.data = (uint8_t *)(uintptr_t)data;
	req.data.len = len;
	return &req.base;
}

static void on_import(struct upload *u, const ProtobufCMessage *m)
{
	static char last[64];
	const NODE(ImportImageResponse) *r =
		(const NODE(ImportImageResponse) *)m;

	switch ((int)r->output_case) {
	case NODE_CASE(IMPORT_IMAGE_RESPONSE__OUTPUT, PROGRESS):
		show_step(&u->progress, r->progress, last);
		break;
	case NODE_CASE(IMPORT_IMAGE_RESPONSE__OUTPUT, IMAGE):
		progress_clear(&u->progress);
		if (u->ctl->json) {
			json_message(stdout, &r->image->base);
			putchar('\n');
		} else {
			printf("%s %s\n", r->image->name, r->image->digest);
		}
		break;
	default:
		break;
	}
}

static int take_env(const struct options *o, NODE(ImportImageStart) * start,
		    struct error *err)
{
	size_t n = options_count(o, "env");

	start->env = xcalloc(n + 1, sizeof(*start->env));
	for (size_t i = 0; i < n; i++) {
		const char *text = options_nth(o, "env", i);
		const char *equals = strchr(text, '=');
		env_entry *e;

		if (!equals || equals == text)
			return err_set(err, ERR_INVALID,
				       "--env '%s': NAME=VALUE is needed",
				       text);
		e = xcalloc(1, sizeof(*e));
		sandbox__node__v1__import_image_start__env_entry__init(e);
		e->key = xasprintf("%.*s", (int)(equals - text), text);
		e->value = xstrdup(equals + 1);
		start->env[start->n_env++] = e;
	}
	return 0;
}

static char *copy_option(const struct ctl *ctl, const char *name)
{
	return xstrdup(ctl_option(ctl, name));
}

/* The first message; NULL when the options are wrong. */
static NODE(ImportImageRequest) *
	new_start(const struct ctl *ctl, struct error *err)
{
	NODE(ImportImageRequest) *req = xcalloc(1, sizeof(*req));
	NODE(ImportImageStart) *start = xcalloc(1, sizeof(*start));

	sandbox__node__v1__import_image_request__init(req);
	sandbox__node__v1__import_image_start__init(start);
	req->input_case = NODE_CASE(IMPORT_IMAGE_REQUEST__INPUT, START);
	req->start = start;
	start->request_id = xstrdup(ctl_request_id());
	start->name = copy_option(ctl, "name");
	start->user = copy_option(ctl, "user");
	start->workdir = copy_option(ctl, "workdir");
	start->replace = options_has(ctl->options, "replace");
	if (!*start->name) {
		err_set(err, ERR_INVALID, "--name is needed");
	} else if (take_env(ctl->options, start, err) == 0) {
		return req;
	}
	message_free(&req->base);
	return NULL;
}

static int cmd_import(struct ctl *ctl)
{
	const char *file = ctl_word(ctl, 0);
	_cleanup_(message_freep) ProtobufCMessage *start = NULL;
	struct upload u = { .method = "ImportImage",
			    .wrap = wrap,
			    .fd = STDIN_FILENO,
			    .what = file,
			    .answer = on_import };
	_cleanup_close_ int fd = -EBADF;
	NODE(ImportImageRequest) * req;
	struct error err = { 0 };
	struct stat st;

	req = new_start(ctl, &err);
	if (!req)
		return ctl_usage(&err);
	start = &req->base;
	if (strcmp(file, "-") != 0) {
		fd = open(file, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0) {
			err_sys(&err, errno, "%s", file);
			return ctl_local(&err);
		}
		u.fd = fd;
		u.size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
		req->start->size_bytes = u.size;
	}
	u.start = start;
	return upload_run(ctl, &u);
}

static int at_recipe_end(struct upload *u)
{
	struct error err = { 0 };

	if (recipe_wait(u->arg, &err) == 0)
		return CTL_OK;
	progress_clear(&u->progress);
	return ctl_local(&err);
}

static int cmd_build(struct ctl *ctl)
{
	const char *name = ctl_word(ctl, 0);
	_cleanup_(recipe_freep) struct recipe *recipe = NULL;
	_cleanup_(message_freep) ProtobufCMessage *start = NULL;
	struct upload u = { .method = "ImportImage",
			    .wrap = wrap,
			    .what = name,
			    .answer = on_import,
			    .at_end = at_recipe_end };
	NODE(ImportImageRequest) * req;
	struct error err = { 0 };
	int status;

	req = new_start(ctl, &err);
	if (!req)
		return ctl_usage(&err);
	start = &req->base;
	/* No build of minutes for a node that is not there. */
	status = ctl_begin(ctl);
	if (status)
		return status;
	if (recipe_start(name, &recipe, &err) < 0)
		return ctl_local(&err);
	u.start = start;
	u.fd = recipe_fd(recipe);
	u.arg = recipe;
	return upload_run(ctl, &u);
}

/* ---- templates ---- */

static int cmd_template_list(struct ctl *ctl)
{
	static const char *const head[] = { "ID",     "IMAGE",	 "CPU",
					    "MEMORY", "SIZE",	 "WAITING",
					    "USERS",  "CREATED", NULL };
	NODE(ListTemplatesRequest) req = NODE_INIT(LIST_TEMPLATES_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(ListTemplatesResponse) * r;
	char time[CTL_TIME_MAX], size[TEXT_SIZE_MAX];
	struct table *t;
	int status;

	m = ctl_call(ctl, "ListTemplates", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json) {
		ctl_print_json(m);
		return CTL_OK;
	}
	r = (const NODE(ListTemplatesResponse) *)m;
	t = table_new(head);
	for (size_t i = 0; i < r->n_templates; i++) {
		const NODE(Template) *x = r->templates[i];

		table_cell(t, "%s", x->id);
		table_cell(t, "%s", x->image);
		table_cell(t, "%u", x->cpu);
		table_cell(t, "%u MiB", x->memory_mib);
		table_cell(t, "%s", text_size(size, x->size_bytes));
		table_cell(t, "%u of %u", x->pool_ready, x->pool_wanted);
		table_cell(t, "%u", x->users);
		table_cell(t, "%s", ctl_time(time, x->created_at));
	}
	table_print(t, stdout);
	table_free(t);
	return CTL_OK;
}

static int on_template(struct ctl *ctl, const ProtobufCMessage *m, void *arg)
{
	static char last[64];
	const NODE(BuildTemplateResponse) *r =
		(const NODE(BuildTemplateResponse) *)m;
	struct progress *p = arg;

	switch ((int)r->output_case) {
	case NODE_CASE(BUILD_TEMPLATE_RESPONSE__OUTPUT, PROGRESS):
		show_step(p, r->progress, last);
		break;
	case NODE_CASE(BUILD_TEMPLATE_RESPONSE__OUTPUT, TEMPLATE):
		progress_clear(p);
		if (ctl->json) {
			json_message(stdout, &r->template_->base);
			putchar('\n');
		} else {
			puts(r->template_->id);
		}
		break;
	default:
		break;
	}
	return 0;
}

static int cmd_template_build(struct ctl *ctl)
{
	NODE(BuildTemplateRequest) req = NODE_INIT(BUILD_TEMPLATE_REQUEST);
	const struct options *o = ctl->options;
	struct progress progress = { 0 };
	struct error err = { 0 };
	int status;

	req.request_id = ctl_request_id();
	req.image = ctl_option(ctl, "image");
	if (!*req.image) {
		err_set(&err, ERR_INVALID, "template build needs --image");
		return ctl_usage(&err);
	}
	if (options_u32(o, "cpu", 0, UINT32_MAX, &req.cpu, &err) < 0 ||
	    options_u32(o, "memory", 0, UINT32_MAX, &req.memory_mib, &err) < 0)
		return ctl_usage(&err);
	status = ctl_stream(ctl, "BuildTemplate", &req.base, on_template,
			    &progress);
	progress_clear(&progress);
	return status;
}

static int cmd_template_remove(struct ctl *ctl)
{
	NODE(RemoveTemplateRequest) req = NODE_INIT(REMOVE_TEMPLATE_REQUEST);

	req.request_id = ctl_request_id();
	req.template_id = ctl_word(ctl, 0);
	return ctl_simple(ctl, "RemoveTemplate", &req.base);
}

static const struct option_def import_options[] = {
	{ "name", 0, "I", false, "what it is called (required)" },
	{ "replace", 0, NULL, false, "replace an image of this name" },
	{ "env", 0, "K=V", true, "environment, for a plain archive" },
	{ "user", 0, "U", false, "who runs commands, for a plain archive" },
	{ "workdir", 0, "D", false, "where, for a plain archive" },
	{ 0 },
};

static const struct option_def template_options[] = {
	{ "image", 0, "I", false, "image (required)" },
	{ "cpu", 0, "N", false, "vCPUs" },
	{ "memory", 0, "MIB", false, "memory" },
	{ 0 },
};

const struct command image_commands[] = {
	{ "image list", "", "list images", 0, 0, false, NULL, cmd_list },
	{ "image import", "FILE --name I", "from an OCI, docker or tar archive",
	  1, 1, false, import_options, cmd_import },
	{ "image build", "RECIPE --name I", "from packages, by a recipe", 1, 1,
	  false, import_options, cmd_build },
	{ "image remove", "I", "delete one", 1, 1, false, NULL, cmd_remove },
	{ "template list", "", "list prepared guests", 0, 0, false, NULL,
	  cmd_template_list },
	{ "template build", "--image I [--cpu N] [--memory MIB]",
	  "prepare one ahead of need", 0, 0, false, template_options,
	  cmd_template_build },
	{ "template remove", "ID", "delete one", 1, 1, false, NULL,
	  cmd_template_remove },
	{ 0 },
};
