/* SPDX-License-Identifier: Apache-2.0 */
/* job.c - a pool of threads for what blocks */
#include "base/job.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

struct job {
	struct list link;
	struct job_pool *pool;
	const struct job_ops *ops;
	void *arg;
	int rc;
	struct error err;
};

struct job_pool {
	struct loop *loop;
	pthread_mutex_t lock; /* guards queue, done, stopping, refs */
	pthread_cond_t wake;
	struct list queue; /* not begun */
	struct list done;  /* run, and @done not yet called */
	bool stopping;
	unsigned int refs; /* the owner, and each deliver() on its way */
	unsigned int n_threads, running;
	pthread_t threads[];
};

static struct job *take_first(struct list *list)
{
	struct job *job;

	if (list_empty(list))
		return NULL;
	job = list_entry(list->next, struct job, link);
	list_del(&job->link);
	return job;
}

static void pool_unref(struct job_pool *pool)
{
	bool last;

	pthread_mutex_lock(&pool->lock);
	last = --pool->refs == 0;
	pthread_mutex_unlock(&pool->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->wake);
	free(pool);
}

/* Main thread: one job that has ended. The posts and the list are in step, but
 * job_pool_free() may have emptied the list first.
 */
static void deliver(void *arg)
{
	struct job_pool *pool = arg;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	job = take_first(&pool->done);
	pthread_mutex_unlock(&pool->lock);
	if (job) {
		job->ops->done(job->arg, job->rc, &job->err);
		free(job);
	}
	pool_unref(pool);
}

static void *worker(void *arg)
{
	struct job_pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct job *job;

		while (!pool->stopping && list_empty(&pool->queue))
			pthread_cond_wait(&pool->wake, &pool->lock);
		if (pool->stopping)
			break;
		job = take_first(&pool->queue);
		pool->running++;
		pthread_mutex_unlock(&pool->lock);

		job->rc = job->ops->run(job->arg, &job->err);

		pthread_mutex_lock(&pool->lock);
		pool->running--;
		list_add_tail(&pool->done, &job->link);
		if (!pool->stopping) {
			pool->refs++;
			loop_post(pool->loop, deliver, pool);
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int job_pool_new(struct loop *loop, unsigned int threads, struct job_pool **ret,
		 struct error *err)
{
	struct job_pool *pool =
		xcalloc(1, sizeof(*pool) + threads * sizeof(pthread_t));
	sigset_t all, old;
	int r = 0;

	pool->loop = loop;
	pool->refs = 1;
	list_init(&pool->queue);
	list_init(&pool->done);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);

	/* Signals are the main thread's (signalfd). */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (r == 0 && pool->n_threads < threads) {
		r = pthread_create(&pool->threads[pool->n_threads], NULL,
				   worker, pool);
		if (r == 0)
			pool->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		job_pool_free(pool);
		return err_sys(err, r, "start a worker thread");
	}
	*ret = pool;
	return 0;
}

struct job_pool *job_pool_free(struct job_pool *pool)
{
	struct job *job;

	if (!pool)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);

	while ((job = take_first(&pool->done))) {
		job->ops->done(job->arg, job->rc, &job->err);
		free(job);
	}
	while ((job = take_first(&pool->queue))) {
		err_set(&job->err, ERR_UNAVAILABLE, "the daemon is stopping");
		job->ops->done(job->arg, -1, &job->err);
		free(job);
	}
	pool_unref(pool);
	return NULL;
}

void job_start(struct job_pool *pool, const struct job_ops *ops, void *arg)
{
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){ .pool = pool, .ops = ops, .arg = arg };
	pthread_mutex_lock(&pool->lock);
	list_add_tail(&pool->queue, &job->link);
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

void job_pool_use(struct job_pool *pool, unsigned int *ret_queued,
		  unsigned int *ret_running)
{
	*ret_queued = 0;
	pthread_mutex_lock(&pool->lock);
	for (struct list *l = pool->queue.next; l != &pool->queue; l = l->next)
		++*ret_queued;
	*ret_running = pool->running;
	pthread_mutex_unlock(&pool->lock);
}
