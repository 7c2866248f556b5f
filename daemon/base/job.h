/* SPDX-License-Identifier: Apache-2.0 */
/* job.h - a pool of threads for what blocks */
#ifndef BASE_JOB_H
#define BASE_JOB_H

struct error;
struct loop;
struct job_pool;

/**
 * struct job_ops - What a kind of job does, and where
 * @name:	For logs
 * @run:	Worker thread.  May block.  Sees @arg and nothing else
 * @done:	Main thread, once, after @run returned or was never begun (@rc
 *		-1, ERR_UNAVAILABLE: the daemon is stopping).  Frees @arg
 */
struct job_ops {
	const char *name;
	int (*run)(void *arg, struct error *err);
	void (*done)(void *arg, int rc, const struct error *err);
};

int job_pool_new(struct loop *loop, unsigned int threads, struct job_pool **ret,
		 struct error *err);

/* Waits for running jobs; queued ones are not begun. Every job's done is
 * called before it returns.
 */
struct job_pool *job_pool_free(struct job_pool *pool);

/* Main thread. @arg is the job's from now until @done. */
void job_start(struct job_pool *pool, const struct job_ops *ops, void *arg);

/* How many wait, and how many run, now. */
void job_pool_use(struct job_pool *pool, unsigned int *ret_queued,
		  unsigned int *ret_running);

#endif /* BASE_JOB_H */
