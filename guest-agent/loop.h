/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - the agent's event loop: descriptors, timers, and a door for threads
 *
 * All of the agent's state belongs to the thread that runs the loop. Callbacks
 * run from loop_run() only; any of them may free any watch or timer, also its
 * own. loop_post() is the one function that other threads may call.
 */
#ifndef AGENT_LOOP_H
#define AGENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_fd;
struct loop_timer;

typedef void (*loop_fd_fn)(uint32_t events, void *arg);
typedef void (*loop_fn)(void *arg);

#define LOOP_NEVER UINT64_MAX

/* Return: the loop, or NULL with errno set */
struct loop *loop_new(void);
struct loop *loop_free(struct loop *loop);

/* Call @fn at the end of every turn; one per loop. */
void loop_after_turn(struct loop *loop, loop_fn fn, void *arg);

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Monotonic (counts suspension out), at the begin of this turn. */
uint64_t loop_now_ms(const struct loop *loop);
/* The same clock as it is right now. */
uint64_t loop_clock_ms(void);

/**
 * loop_fd_new() - Call @fn whenever @fd is ready
 * @fd:		Borrowed; close it after loop_fd_free()
 * @events:	EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLET; 0: only errors
 *
 * Return: the watch, or NULL with errno set (a regular file is EPERM)
 */
struct loop_fd *loop_fd_new(struct loop *loop, int fd, uint32_t events,
			    loop_fd_fn fn, void *arg);
/* EPOLLHUP and EPOLLERR are always told: with @on false the watch sleeps. */
void loop_fd_set(struct loop_fd *w, uint32_t events, bool on);
/* Edge-triggered and not read to its end: tell again in the next turn. */
void loop_fd_again(struct loop_fd *w);
/* NULL is fine. Returns NULL. */
struct loop_fd *loop_fd_free(struct loop_fd *w);

/* A timer that is not armed; never fails. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg);
/* At this loop_now_ms() time, once; LOOP_NEVER disarms. */
void loop_timer_at(struct loop_timer *t, uint64_t at_ms);
struct loop_timer *loop_timer_free(struct loop_timer *t);

/* Any thread: run @fn on the loop's thread, in order of posting. */
void loop_post(struct loop *loop, loop_fn fn, void *arg);

#endif /* AGENT_LOOP_H */
