/* SPDX-License-Identifier: Apache-2.0 */
/* hv_call.c - one operation of the hypervisor, as a job */
#include "engine/hv_call.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/job.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/templates.h"

static const char *or_null(const char *s)
{
	return s[0] ? s : NULL;
}

static int run(void *arg, struct error *err)
{
	struct hv_call *c = arg;
	const struct hv_ops *ops = c->hv->ops;
	const char *template = or_null(c->template_dir);
	const char *snapshot = or_null(c->snapshot_dir);

	/* Its process tells only while it lives. */
	if (c->op == HV_DESTROY || (c->op == HV_SAVE && !c->flag))
		ops->stats(c->hv, c->spec.uuid, &c->cpu_ms, &c->memory, NULL);
	switch (c->op) {
	case HV_START:
		return ops->start(c->hv, &c->spec, template, snapshot, c->flag,
				  err);
	case HV_RELEASE:
		return ops->release(c->hv, &c->spec, template, snapshot, err);
	case HV_OPEN_AGENT:
		return ops->open_agent(c->hv, &c->spec, &c->fd, err);
	case HV_SAVE:
		return ops->save(c->hv, &c->spec, template, snapshot, c->flag,
				 &c->bytes, c->progress, err);
	case HV_CAPTURE:
		return ops->capture(c->hv, &c->spec, template, c->progress,
				    err);
	case HV_WAKE:
		return ops->wake(c->hv, &c->spec, snapshot, err);
	case HV_DESTROY:
		return ops->destroy(c->hv, c->spec.uuid, err);
	case HV_LIFE:
		c->life = ops->life(c->hv, c->spec.uuid);
		return 0;
	case HV_LIST:
		c->n = ops->list(c->hv, &c->list, err);
		return c->n < 0 ? -1 : 0;
	case HV_VERIFY:
		return ops->verify(c->hv, snapshot, err);
	case HV_STATS:
		return ops->stats(c->hv, c->spec.uuid, &c->cpu_ms,
				  c->flag ? &c->memory : NULL, err);
	case HV_MERGE:
		return ops->merge(c->hv, &c->spec, template, snapshot,
				  c->out_dir, &c->bytes, c->progress, err);
	case HV_SELFTEST:
		return ops->selftest(c->hv, &c->spec, err);
	}
	return err_set(err, ERR_INTERNAL, "no such operation");
}

static void done(void *arg, int rc, const struct error *err)
{
	struct hv_call *c = arg;

	metrics_hv(&c->engine->metrics, c->op, rc < 0,
		   measure_since(c->began_us));
	if (rc < 0 && c->template_dir[0] && c->op != HV_CAPTURE)
		template_doubted(c->engine, c->template_dir,
				 c->op == HV_START && !c->snapshot_dir[0] &&
					 err->code == ERR_DATA_LOSS);
	c->done(c, rc, err);
	fd_close(&c->fd);
	free(c->list);
	free(c);
}

static const struct job_ops job = { "hv", run, done };

void hv_call_start(struct engine *e, const struct hv_call *call)
{
	struct hv_call *c = xmemdup(call, sizeof(*call));

	c->fd = -EBADF;
	c->list = NULL;
	c->hv = e->hv;
	c->engine = e;
	c->began_us = measure_now();
	job_start(e->jobs, &job, c);
}
