/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_sandbox.c - create, get, list, update, pause, resume, terminate */
#include "engine/rpc.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/answer.h"
#include "engine/ended.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/spec_check.h"

#include <stdlib.h>
#include <string.h>

/* By name, or by what an alias of the operator's stands for. */
static int find_image(struct engine *e, const Spec *spec,
		      const struct image **ret, struct error *err)
{
	const char *name = spec->image, *alias;

	if (!str_empty(spec->template_)) {
		name = config_pair_get(&e->config->templates_alias,
				       spec->template_);
		if (!name) {
			err_set(err, ERR_NOT_FOUND,
				"there is no template alias '%s'",
				spec->template_);
			return err_reason(err, "TEMPLATE_NOT_FOUND",
					  spec->template_);
		}
	}
	alias = config_pair_get(&e->config->images, name);
	*ret = image_by_name(e->images, alias ? alias : name);
	if (*ret)
		return 0;
	err_set(err, ERR_NOT_FOUND, "there is no image '%s' on this node",
		name);
	return err_reason(err, "IMAGE_NOT_FOUND", name);
}

/* Rules that this node opens to nobody are told of, not passed over. */
static int check_egress(struct engine *e, const PbEgress *egress,
			struct error *err)
{
	struct net_policy policy;
	int r;

	if (!egress)
		return 0;
	if (spec_policy(egress, &policy, err) < 0)
		return -1;
	r = net_check_policy(e->net, &policy, err);
	net_policy_fini(&policy);
	return r;
}

int rpc_create_sandbox(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Spec *spec = (Spec *)call->request;
	const struct image *image;

	if (spec_check_create(spec, err) < 0 ||
	    check_egress(e, spec->egress, err) < 0 ||
	    find_image(e, spec, &image, err) < 0 ||
	    spec_complete(spec, image, err) < 0)
		return -1;
	spec = spec_copy(spec);
	if (sandbox_create(e, spec, image, call, err) == 0)
		return 0;
	pb_free(spec);
	return -1;
}

int rpc_get_sandbox(struct call *call, struct error *err)
{
	Sandbox__Node__V1__GetSandboxRequest *req =
		(Sandbox__Node__V1__GetSandboxRequest *)call->request;
	struct sandbox *sb;

	if (rpc_sandbox(call->engine, req->sandbox_id, &sb, err) < 0)
		return -1;
	answer_call(call, sb, NULL);
	call_send(call);
	return 0;
}

#define LIST_PAGE_MAX	  100
#define LIST_PAGE_DEFAULT 20

typedef Sandbox__Node__V1__ListSandboxesRequest PbList;

static bool has_filter(const PbList *req)
{
	return !str_empty(req->image) || !str_empty(req->tenant) ||
	       req->n_metadata;
}

static const char *spec_metadata(const Spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->n_metadata; i++)
		if (!strcmp(spec->metadata[i]->key, key))
			return spec->metadata[i]->value;
	return NULL;
}

static bool is(const char *value, const char *wanted)
{
	return value && !strcmp(value, wanted);
}

/* But for its state. */
static bool matches(const struct sandbox *sb, const PbList *req)
{
	const Spec *spec = sb->row.spec;

	if (!str_empty(req->image) && !is(spec->image, req->image))
		return false;
	if (!str_empty(req->tenant) && !is(spec->tenant, req->tenant))
		return false;
	for (size_t i = 0; i < req->n_metadata; i++)
		if (!is(spec_metadata(spec, req->metadata[i]->key),
			req->metadata[i]->value))
			return false;
	return true;
}

static bool matches_ended(const struct ended *ended, const PbList *req)
{
	if (!str_empty(req->image) && !is(ended->image, req->image))
		return false;
	if (!str_empty(req->tenant) && !is(ended->tenant, req->tenant))
		return false;
	for (size_t i = 0; i < req->n_metadata; i++)
		if (!is(ended_metadata(ended, req->metadata[i]->key),
			req->metadata[i]->value))
			return false;
	return true;
}

/* A page being put together, newest first. */
struct page {
	const PbList *req;
	uint32_t offset, limit, total, n;
	struct sandbox_view views[LIST_PAGE_MAX];
	PbSandbox *at[LIST_PAGE_MAX];
};

static void page_add(struct page *p, struct sandbox *sb)
{
	if (p->total++ < p->offset || p->n == p->limit)
		return;
	p->at[p->n] = answer_sandbox(&p->views[p->n], sb, false);
	p->n++;
}

/* Of those that have not ended; without a filter it need not look at others
 * than its own.
 */
static void page_live(struct page *p, const struct sandboxes *s)
{
	const PbList *req = p->req;
	bool all = req->state == 0 && !has_filter(req);
	size_t i = s->n_live;

	if (all) {
		size_t skip = p->offset < i ? p->offset : i;

		p->total = (uint32_t)skip;
		for (i -= skip; i > 0 && p->n < p->limit;)
			page_add(p, s->live[--i].sb);
		p->total = (uint32_t)s->n_live;
		return;
	}
	while (i-- > 0) {
		if ((!req->state || (int)s->live[i].state == (int)req->state) &&
		    matches(s->live[i].sb, req))
			page_add(p, s->live[i].sb);
	}
}

/* Only those on the page are read. */
static void page_ended_one(struct page *p, struct engine *e,
			   const struct ended *ended)
{
	bool on = p->total >= p->offset && p->n < p->limit;
	struct sandbox *sb = on ? ended_show(e, ended) : NULL;

	if (sb)
		page_add(p, sb);
	else
		p->total++;
}

/* Most are in the database alone; the last to end may not be so yet. */
static void page_ended(struct page *p, struct engine *e)
{
	const struct sandboxes *s = &e->sandboxes;
	const struct list *m = s->all.prev, *d = s->ended.prev;

	while (m != &s->all || d != &s->ended) {
		struct sandbox *sb = list_entry(m, struct sandbox, link);
		struct ended *ended = list_entry(d, struct ended, link);

		if (m == &s->all ||
		    (d != &s->ended && ended->order > sb->order)) {
			d = d->prev;
			if (matches_ended(ended, p->req))
				page_ended_one(p, e, ended);
			continue;
		}
		m = m->prev;
		if (sb->row.state == SBX_TERMINATED && matches(sb, p->req))
			page_add(p, sb);
	}
}

int rpc_list_sandboxes(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	const PbList *req = (const PbList *)call->request;
	Sandbox__Node__V1__ListSandboxesResponse r =
		SANDBOX__NODE__V1__LIST_SANDBOXES_RESPONSE__INIT;
	Sandbox__Node__V1__Pagination page =
		SANDBOX__NODE__V1__PAGINATION__INIT;
	struct page p;

	p.req = req;
	p.limit = req->limit ? req->limit : LIST_PAGE_DEFAULT;
	p.offset = req->offset;
	p.total = p.n = 0;
	if (p.limit > LIST_PAGE_MAX)
		return err_field(err, "limit", "is %u; allowed are 1 to %d",
				 p.limit, LIST_PAGE_MAX);
	if ((unsigned int)req->state >= SBX_STATE_COUNT)
		return err_field(err, "state", "is %d; that is no state",
				 (int)req->state);
	if ((int)req->state == SBX_TERMINATED)
		page_ended(&p, e);
	else
		page_live(&p, &e->sandboxes);
	page.limit = p.limit;
	page.offset = p.offset;
	page.total = p.total;
	page.has_more = (uint64_t)p.offset + p.n < p.total;
	r.n_sandboxes = p.n;
	r.sandboxes = p.at;
	r.pagination = &page;
	call_finish(call, &r.base);
	return 0;
}

/* ---- update ---- */

static void *copy_message(const ProtobufCMessage *msg)
{
	size_t len;
	uint8_t *packed = pb_pack(msg, &len);
	ProtobufCMessage *copy =
		protobuf_c_message_unpack(msg->descriptor, NULL, len, packed);

	free(packed);
	if (!copy)
		abort();
	return copy;
}

static Spec *updated(const Spec *old, const PbUpdate *req)
{
	Spec *spec = spec_copy(old);

	if (req->timeout_ms)
		spec->timeout_ms = req->timeout_ms->value;
	if (req->idle_timeout_ms)
		spec->idle_timeout_ms = req->idle_timeout_ms->value;
	if (req->egress) {
		pb_free(spec->egress);
		spec->egress = copy_message(&req->egress->base);
	}
	if (req->network_limits) {
		pb_free(spec->network_limits);
		spec->network_limits = copy_message(&req->network_limits->base);
	}
	return spec;
}

static int apply_network(struct sandbox *sb, const Spec *spec,
			 struct error *err)
{
	struct engine *e = sb->engine;
	struct net_limits limits =
		spec_limits(spec->network_limits, &e->config->net_limits);
	struct net_policy policy;
	int r;

	/* While a guest is on its way up or down, its next start brings it. */
	if (sb->row.state != SBX_RUNNING || sb->row.slot < 0)
		return 0;
	if (spec_policy(spec->egress, &policy, err) < 0)
		return -1;
	r = net_update(e->net, &sb->slot, sb->row.generation, &policy, &limits,
		       err);
	net_policy_fini(&policy);
	return r;
}

int rpc_update_sandbox(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	const PbUpdate *req = (const PbUpdate *)call->request;
	struct sandbox *sb;
	Spec *old, *spec;
	bool network = req->egress || req->network_limits;

	if (spec_check_update(req, err) < 0 ||
	    check_egress(e, req->egress, err) < 0 ||
	    rpc_sandbox(e, req->sandbox_id, &sb, err) < 0 ||
	    sandbox_may(sb, EV_UPDATE, err) < 0)
		return -1;
	/* A guest on its way has its policy planned already. */
	if (network && sb->task && sandbox_not_busy(sb, err) < 0)
		return -1;
	old = sb->row.spec;
	spec = updated(old, req);
	if (network && apply_network(sb, spec, err) < 0) {
		pb_free(spec);
		return -1;
	}
	sb->row.spec = spec;
	store_begin(e->store);
	store_sandbox_put(e->store, &sb->row);
	answer_call(call, sb, NULL);
	if (event_commit(e, err) < 0) {
		sb->row.spec = old;
		if (network)
			apply_network(sb, old, NULL);
		pb_free(spec);
		return -1;
	}
	pb_free(old);
	sandbox_arm(sb);
	call_send(call);
	return 0;
}

/* ---- pause, resume, terminate ---- */

static int check_generation(const struct sandbox *sb, uint64_t asked,
			    struct error *err)
{
	if (asked == 0 || asked == sb->row.generation)
		return 0;
	err_set(err, ERR_CONFLICT,
		"sandbox '%s' is at generation %llu, not %llu", sb->row.id,
		(unsigned long long)sb->row.generation,
		(unsigned long long)asked);
	return err_reason(err, "INVALID_STATE", "generation");
}

int rpc_pause_sandbox(struct call *call, struct error *err)
{
	Sandbox__Node__V1__PauseSandboxRequest *req =
		(Sandbox__Node__V1__PauseSandboxRequest *)call->request;
	struct sandbox *sb;

	if (rpc_sandbox(call->engine, req->sandbox_id, &sb, err) < 0 ||
	    check_generation(sb, req->generation, err) < 0)
		return -1;
	return sandbox_pause(sb, call, err);
}

int rpc_resume_sandbox(struct call *call, struct error *err)
{
	Sandbox__Node__V1__ResumeSandboxRequest *req =
		(Sandbox__Node__V1__ResumeSandboxRequest *)call->request;
	struct sandbox *sb;

	if (rpc_sandbox(call->engine, req->sandbox_id, &sb, err) < 0 ||
	    check_generation(sb, req->generation, err) < 0)
		return -1;
	return sandbox_resume(sb, call, err);
}

int rpc_terminate_sandbox(struct call *call, struct error *err)
{
	Sandbox__Node__V1__TerminateSandboxRequest *req =
		(Sandbox__Node__V1__TerminateSandboxRequest *)call->request;
	struct sandbox *sb;

	if (rpc_sandbox(call->engine, req->sandbox_id, &sb, err) < 0 ||
	    check_generation(sb, req->generation, err) < 0)
		return -1;
	sandbox_end(sb, "REQUESTED", call);
	return 0;
}
