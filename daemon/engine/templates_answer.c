/* SPDX-License-Identifier: Apache-2.0 */
/* templates_answer.c - what clients are shown of templates */
#include "engine/templates_answer.h"

#include "engine/answer.h"
#include "engine/call.h"
#include "engine/pool.h"
#include "engine/templates.h"

Sandbox__Node__V1__Template *template_view(struct template_view *view,
					   struct engine *e, struct template *t)
{
	Sandbox__Node__V1__Template *m = &view->msg;

	sandbox__node__v1__template__init(m);
	m->id = t->row.id;
	m->image = t->row.image;
	m->image_digest = t->row.image_digest;
	m->cpu = t->row.cpu;
	m->memory_mib = t->row.memory_mib;
	m->created_at = answer_time(&view->created, t->row.created_ms);
	m->used_at = answer_time(&view->used, t->row.used_ms);
	m->size_bytes = t->row.size_bytes;
	m->pool_ready = pool_ready(e, t->row.id);
	m->pool_wanted = pool_wanted(e, t);
	m->users = template_users(e, t->row.id);
	return m;
}

void templates_progress(struct call *call, const char *step, uint64_t done,
			uint64_t total)
{
	Sandbox__Node__V1__BuildTemplateResponse r =
		SANDBOX__NODE__V1__BUILD_TEMPLATE_RESPONSE__INIT;
	Sandbox__Node__V1__Progress p = SANDBOX__NODE__V1__PROGRESS__INIT;

	p.step = (char *)(uintptr_t)step;
	p.done = done;
	p.total = total;
	r.output_case =
		SANDBOX__NODE__V1__BUILD_TEMPLATE_RESPONSE__OUTPUT_PROGRESS;
	r.progress = &p;
	call_progress(call, &r.base);
}

void templates_answer(struct call *call, struct template *t)
{
	Sandbox__Node__V1__BuildTemplateResponse r =
		SANDBOX__NODE__V1__BUILD_TEMPLATE_RESPONSE__INIT;
	struct template_view view;

	r.output_case =
		SANDBOX__NODE__V1__BUILD_TEMPLATE_RESPONSE__OUTPUT_TEMPLATE;
	r.template_ = template_view(&view, call->engine, t);
	call_answer(call, &r.base);
}
