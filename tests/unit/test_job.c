/* SPDX-License-Identifier: Apache-2.0 */
/* test_job.c - the worker pool and the one door back to the main thread */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/job.h"
#include "base/loop.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct work {
	struct loop *loop;
	pthread_t ran_on;
	int rc, done_rc;
	int *left; /* stops the loop at 0 */
	char msg[64];
	bool done;
};

static int run(void *arg, struct error *err)
{
	struct work *w = arg;

	w->ran_on = pthread_self();
	return w->rc ? err_set(err, ERR_LIMIT, "no room for it") : 0;
}

static void done(void *arg, int rc, const struct error *err)
{
	struct work *w = arg;

	w->done = true;
	w->done_rc = rc;
	if (rc < 0)
		snprintf(w->msg, sizeof(w->msg), "%.63s", err->msg);
	if (w->left && --*w->left == 0)
		loop_stop(w->loop, 0);
}

static const struct job_ops ops = { "test", run, done };

static void a_job_runs_elsewhere_and_ends_here(void **state)
{
	struct loop *loop;
	struct job_pool *pool;
	int left = 1;
	struct work w = { .left = &left };

	(void)state;
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(job_pool_new(loop, 2, &pool, NULL), 0);
	w.loop = loop;
	job_start(pool, &ops, &w);
	loop_run(loop);
	assert_true(w.done);
	assert_false(pthread_equal(w.ran_on, pthread_self()));
	job_pool_free(pool);
	loop_free(loop);
}

static void an_error_reaches_done(void **state)
{
	struct loop *loop;
	struct job_pool *pool;
	int left = 1;
	struct work w = { .left = &left, .rc = -1 };

	(void)state;
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(job_pool_new(loop, 1, &pool, NULL), 0);
	w.loop = loop;
	job_start(pool, &ops, &w);
	loop_run(loop);
	assert_int_equal(w.done_rc, -1);
	assert_string_equal(w.msg, "no room for it");
	job_pool_free(pool);
	loop_free(loop);
}

static void every_job_is_done_exactly_once_when_the_pool_goes(void **state)
{
	enum { N = 100 };
	struct loop *loop;
	struct job_pool *pool;
	struct work w[N];
	int left = N + 1; /* never reached 0: nobody stops the loop */

	(void)state;
	memset(w, 0, sizeof(w));
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(job_pool_new(loop, 3, &pool, NULL), 0);
	for (int i = 0; i < N; i++) {
		w[i].loop = loop;
		w[i].left = &left;
		job_start(pool, &ops, &w[i]);
	}
	job_pool_free(pool);
	assert_int_equal(left, 1);
	for (int i = 0; i < N; i++)
		assert_true(w[i].done);
	loop_free(loop);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_runs_elsewhere_and_ends_here),
		cmocka_unit_test(an_error_reaches_done),
		cmocka_unit_test(every_job_is_done_exactly_once_when_the_pool_goes),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
