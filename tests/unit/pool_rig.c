/* SPDX-License-Identifier: Apache-2.0 */
/* pool_rig.c - a node with a pool, for tests of it and of its templates */
#include "pool_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine/image_use.h"
#include "engine/pool.h"
#include "engine/templates.h"

#include <stdio.h>

void start_with_clone(const char *pool)
{
	rig_stop();
	snprintf(rig.settings, sizeof(rig.settings),
		 "[pool]\nmin = 1\nrefill = 0\n%s", pool);
	rig_start();
	assert_true(rig_create("a"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
}

void look_again(void)
{
	rig.e->pool_taken_ms = 0;
	images_tidy(rig.e);
	pool_trim(rig.e);
	pool_refill(rig.e);
}

struct template *current_template(void)
{
	list_for_each(&rig.e->templates, t, struct template, link)
		if (!t->building && template_is_current(rig.e, t))
			return t;
	return NULL;
}

struct template *larger_template(void)
{
	NODE(BuildTemplate, BUILD_TEMPLATE);

	m.image = (char *)(uintptr_t) "debian:12";
	m.cpu = 2;
	m.memory_mib = 4096;
	assert_true(rig_call("BuildTemplate", &m.base));
	rig_settle();
	return template_find(rig.e, list_entry(rig.e->templates.prev,
					       struct template, link)
					    ->row.id);
}
