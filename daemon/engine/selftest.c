/* SPDX-License-Identifier: Apache-2.0 */
/* selftest.c - find out whether guests can be cloned here */
#include "engine/selftest.h"

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/guest.h"
#include "engine/hv_call.h"
#include "engine/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct selftest {
	struct engine *engine;
	struct guest_plan plan;
};

static void tested(struct hv_call *call, int rc, const struct error *err)
{
	struct selftest *s = call->arg;
	struct engine *e = s->engine;
	struct hv_info *info = &e->hv->info;

	if (e->stopping) {
		free(s);
		return;
	}
	e->testing = false;
	if (rc == 0) {
		info->clones_tested = true;
		log_info("guests can be cloned here");
		pool_refill(e);
	} else if (err->code == ERR_CONFLICT) {
		info->clones_tested = true;
		info->clones_work = false;
		log_err("GUESTS CANNOT BE CLONED here: they boot cold, and are "
			"saved whole by libvirt: %s",
			err->msg);
		pool_empty(e);
	} else {
		log_warn("whether guests can be cloned is not known yet: %s",
			 err->msg);
	}
	guest_discard(e, s->plan.spec.uuid, s->plan.slot);
	free(s);
}

void selftest_begin(struct engine *e)
{
	struct selftest *s;
	struct hv_call *call;
	struct error err;

	if (e->hv->info.clones_tested || e->testing)
		return;
	s = xcalloc(1, sizeof(*s));
	s->engine = e;
	if (guest_plan_new(e, &s->plan, 1, 256, 1, "", "", &err) < 0 ||
	    (mkdir(s->plan.spec.dir, 0700) < 0 &&
	     err_sys(&err, errno, "make '%s'", s->plan.spec.dir) < 0)) {
		log_warn("no self-test of clones: %s", err.msg);
		guest_forget(e, "", s->plan.slot);
		free(s);
		return;
	}
	e->testing = true;
	snprintf(e->test_uuid, sizeof(e->test_uuid), "%s", s->plan.spec.uuid);
	call = xcalloc(1, sizeof(*call));
	call->op = HV_SELFTEST;
	call->spec = s->plan.spec;
	call->done = tested;
	call->arg = s;
	hv_call_start(e, call);
	free(call);
}
