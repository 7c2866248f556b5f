/* SPDX-License-Identifier: Apache-2.0 */
/* templates_answer.h - what clients are shown of templates */
#ifndef ENGINE_TEMPLATES_ANSWER_H
#define ENGINE_TEMPLATES_ANSWER_H

#include "engine/pb.h"

struct call;
struct engine;
struct template;

struct template_view {
	Sandbox__Node__V1__Template msg;
	PbTime created, used;
};

Sandbox__Node__V1__Template *template_view(struct template_view *view,
					   struct engine *e,
					   struct template *t);
/* A message of BuildTemplate's stream: the build does @step. */
void templates_progress(struct call *call, const char *step, uint64_t done,
			uint64_t total);

/* call_answer() of BuildTemplate's last message. */
void templates_answer(struct call *call, struct template *t);

#endif /* ENGINE_TEMPLATES_ANSWER_H */
