/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_image.c - images and templates */
#include "engine/rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/image_use.h"
#include "engine/pool.h"
#include "engine/spec_check.h"
#include "engine/templates.h"
#include "engine/templates_answer.h"

#include <stdio.h>
#include <string.h>

typedef Sandbox__Node__V1__Image PbImage;
typedef Sandbox__Node__V1__Image__EnvEntry PbImageEnv;

/* A message and what it owns. */
struct image_view {
	PbImage msg;
	PbTime created;
	PbImageEnv *env;
	PbImageEnv **at;
};

static void view_image(struct image_view *v, const struct image *image)
{
	PbImage *m = &v->msg;

	sandbox__node__v1__image__init(m);
	m->name = (char *)(uintptr_t)image->name;
	m->digest = (char *)(uintptr_t)image->digest;
	m->size_bytes = image->stored_bytes;
	m->source = (char *)(uintptr_t)image->source;
	m->user = (char *)(uintptr_t)image->user;
	m->workdir = (char *)(uintptr_t)image->workdir;
	m->created_at = answer_time(&v->created, image->created_ms);
	v->env = xcalloc(image->n_env + 1, sizeof(*v->env));
	v->at = xcalloc(image->n_env + 1, sizeof(PbImageEnv *));
	for (size_t i = 0; i < image->n_env; i++) {
		const char *eq = strchr(image->env[i], '=');
		PbImageEnv *env = &v->env[m->n_env];

		if (!eq)
			continue;
		sandbox__node__v1__image__env_entry__init(env);
		env->key = xasprintf("%.*s", (int)(eq - image->env[i]),
				     image->env[i]);
		env->value = xstrdup(eq + 1);
		v->at[m->n_env++] = env;
	}
	m->env = v->at;
}

static void view_fini(struct image_view *v)
{
	for (size_t i = 0; i < v->msg.n_env; i++) {
		free(v->env[i].key);
		free(v->env[i].value);
	}
	free(v->env);
	free(v->at);
}

int rpc_list_images(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__ListImagesResponse r =
		SANDBOX__NODE__V1__LIST_IMAGES_RESPONSE__INIT;
	size_t n = image_count(e->images);
	_cleanup_free_ struct image_view *views = xcalloc(n + 1,
							  sizeof(*views));
	_cleanup_free_ PbImage **at = xcalloc(n + 1, sizeof(PbImage *));

	(void)err;
	for (size_t i = 0; i < n; i++) {
		view_image(&views[i], image_at(e->images, i));
		at[i] = &views[i].msg;
	}
	r.n_images = n;
	r.images = at;
	call_finish(call, &r.base);
	for (size_t i = 0; i < n; i++)
		view_fini(&views[i]);
	return 0;
}

/* ---- import ---- */

static void import_progress(const char *step, uint64_t done, uint64_t total,
			    void *arg)
{
	Sandbox__Node__V1__ImportImageResponse r =
		SANDBOX__NODE__V1__IMPORT_IMAGE_RESPONSE__INIT;
	Sandbox__Node__V1__Progress p = SANDBOX__NODE__V1__PROGRESS__INIT;

	p.step = (char *)(uintptr_t)step;
	p.done = done;
	p.total = total;
	r.output_case = SANDBOX__NODE__V1__IMPORT_IMAGE_RESPONSE__OUTPUT_PROGRESS;
	r.progress = &p;
	call_progress(arg, &r.base);
}

static void answer_import(struct call *call, const struct image *image)
{
	Sandbox__Node__V1__ImportImageResponse r =
		SANDBOX__NODE__V1__IMPORT_IMAGE_RESPONSE__INIT;
	struct image_view view;

	view_image(&view, image);
	r.output_case = SANDBOX__NODE__V1__IMPORT_IMAGE_RESPONSE__OUTPUT_IMAGE;
	r.image = &view.msg;
	call_finish_done(call, &r.base);
	view_fini(&view);
}

static void import_done(const struct image *image, const struct error *err,
			void *arg)
{
	struct call *call = arg;
	struct engine *e = call->engine;

	call->on_cancel = NULL;
	if (!image) {
		call_fail(call, err);
		return;
	}
	answer_import(call, image);
	pool_trim(e);
	pool_refill(e);
}

/* An image is there, or gone, by a rename, and answered in the database. When
 * something came between, the intent is there without an answer: the call that
 * is repeated is answered by what it finds (call->again).
 */
static int write_intent(struct call *call, const char *name, struct error *err)
{
	struct engine *e = call->engine;

	store_begin(e->store);
	call_intent(call, name);
	if (store_commit(e->store, err) == 0)
		return 0;
	call->intent = false;
	return -1;
}

static const struct image_import_ops import_ops = { import_progress,
						    import_done };

static void import_cancel(struct call *call)
{
	image_import_cancel(call->cancel_arg);
}

typedef Sandbox__Node__V1__ImportImageStart PbImport;

static int import_spec(const PbImport *req, struct image_import_spec *spec,
		       struct error *err)
{
	const char *shown = req->name;

	if (!str_is_name(shown, IMAGE_NAME_MAX, "a-z0-9._/:-") ||
	    strchr("._/:-", shown[0]))
		return err_field(err, "name",
				 "is not 1-128 characters, [a-z0-9] then "
				 "[a-z0-9._/:-]");
	if (req->n_env > IMAGE_ENV_MAX)
		return err_field(err, "env", "has %zu entries; at most %d",
				 req->n_env, IMAGE_ENV_MAX);
	for (size_t i = 0; i < req->n_env; i++)
		if (!str_is_name(req->env[i]->key, 128, "A-Za-z0-9_"))
			return err_field(err, "env", "a name is not "
					 "[A-Za-z_][A-Za-z0-9_]*");
	if (str_copy(spec->user, sizeof(spec->user), req->user) < 0)
		return err_field(err, "user", "is too long");
	if (str_copy(spec->workdir, sizeof(spec->workdir), req->workdir) < 0 ||
	    (spec->workdir[0] && spec->workdir[0] != '/'))
		return err_field(err, "workdir",
				 "is not an absolute path of at most 1023 "
				 "bytes");
	snprintf(spec->name, sizeof(spec->name), "%s", req->name);
	spec->size_bytes = req->size_bytes;
	spec->replace = req->replace;
	return 0;
}

int rpc_import_image(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__ImportImageRequest *req =
		(Sandbox__Node__V1__ImportImageRequest *)call->request;
	struct image_import_spec spec = { 0 };
	struct image_import *import;
	const struct image *image;
	const PbImport *start;
	int r;

	if (req->input_case !=
	    SANDBOX__NODE__V1__IMPORT_IMAGE_REQUEST__INPUT_START)
		return err_field(err, "start", "has to come first");
	start = req->start;
	if (import_spec(start, &spec, err) < 0)
		return -1;
	if (call->fd < 0)
		return err_set(err, ERR_INTERNAL, "no stream came with it");
	image = image_by_name(e->images, start->name);
	if (image && call->again && !start->replace) {
		answer_import(call, image);
		return 0;
	}
	/* One that replaces does no harm when it is done again. */
	if (!start->replace && !image &&
	    write_intent(call, start->name, err) < 0)
		return -1;
	spec.n_env = start->n_env;
	spec.env = xcalloc(start->n_env + 1, sizeof(char *));
	for (size_t i = 0; i < start->n_env; i++)
		spec.env[i] = xasprintf("%s=%s", start->env[i]->key,
					start->env[i]->value);
	r = image_import_start(e->images, &spec, TAKE_FD(call->fd),
			       &import_ops, call, &import, err);
	for (size_t i = 0; i < spec.n_env; i++)
		free(spec.env[i]);
	free(spec.env);
	if (r < 0)
		return -1;
	call->cancel_arg = import;
	call->on_cancel = import_cancel;
	return 0;
}

int rpc_remove_image(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__RemoveImageRequest *req =
		(Sandbox__Node__V1__RemoveImageRequest *)call->request;
	Sandbox__Node__V1__RemoveImageResponse r =
		SANDBOX__NODE__V1__REMOVE_IMAGE_RESPONSE__INIT;
	const struct image *image = image_by_name(e->images, req->name);
	char digest[sizeof(image->digest)];

	if (!image && call->again) {
		call_finish_done(call, &r.base);
		return 0;
	}
	if (!image) {
		err_set(err, ERR_NOT_FOUND, "there is no image '%.128s'",
			req->name);
		return err_reason(err, "IMAGE_NOT_FOUND", "name");
	}
	snprintf(digest, sizeof(digest), "%s", image->digest);
	list_for_each(&e->templates, t, struct template, link)
		if (t->building && !strcmp(t->row.image_digest, digest)) {
			err_set(err, ERR_CONFLICT,
				"a template of '%s' is being built", req->name);
			return err_reason(err, "INVALID_STATE", "name");
		}
	if (write_intent(call, req->name, err) < 0 ||
	    image_remove(e->images, req->name, image_is_used, e, err) < 0)
		return -1;
	image_drop_templates(e, digest);
	call_finish_done(call, &r.base);
	return 0;
}

/* ---- templates ---- */

int rpc_list_templates(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__ListTemplatesResponse r =
		SANDBOX__NODE__V1__LIST_TEMPLATES_RESPONSE__INIT;
	_cleanup_free_ struct template_view *views = NULL;
	_cleanup_free_ Sandbox__Node__V1__Template **at = NULL;
	size_t n = 0;

	(void)err;
	list_for_each(&e->templates, t, struct template, link)
		n++;
	views = xcalloc(n + 1, sizeof(*views));
	at = xcalloc(n + 1, sizeof(*at));
	list_for_each(&e->templates, t, struct template, link) {
		if (t->building)
			continue;
		at[r.n_templates] = template_view(&views[r.n_templates], e, t);
		r.n_templates++;
	}
	r.templates = at;
	call_finish(call, &r.base);
	return 0;
}

int rpc_build_template(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__BuildTemplateRequest *req =
		(Sandbox__Node__V1__BuildTemplateRequest *)call->request;
	const char *alias = config_pair_get(&e->config->images, req->image);
	const struct image *image =
		image_by_name(e->images, alias ? alias : req->image);
	uint32_t cpu = req->cpu ? req->cpu : 2;
	uint32_t memory = req->memory_mib ? req->memory_mib : 4096;

	if (!image) {
		err_set(err, ERR_NOT_FOUND, "there is no image '%.128s'",
			req->image);
		return err_reason(err, "IMAGE_NOT_FOUND", "image");
	}
	if (cpu != 2 && cpu != 4 && cpu != 8)
		return err_field(err, "cpu", "is %u; allowed are 2, 4 and 8",
				 cpu);
	if (memory < 2048 || memory > 16384)
		return err_field(err, "memory_mib",
				 "is %u; allowed are 2048 to 16384", memory);
	return templates_build(e, image, cpu, memory, call, err);
}

int rpc_remove_template(struct call *call, struct error *err)
{
	Sandbox__Node__V1__RemoveTemplateRequest *req =
		(Sandbox__Node__V1__RemoveTemplateRequest *)call->request;

	return templates_remove(call->engine, req->template_id, call, err);
}
