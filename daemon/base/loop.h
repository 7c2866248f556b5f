/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - the main thread's event loop, and the one door into it
 *
 * sd-event does timers, signals, descriptors and children; use it directly on
 * loop_event(). What sd-event lacks is added here: a way for other threads to
 * have a function called on the main thread.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>
#include <systemd/sd-event.h>

struct error;
struct loop;
typedef void (*loop_fn)(void *arg);

int loop_new(struct loop **ret, struct error *err);
struct loop *loop_free(struct loop *loop);
sd_event *loop_event(struct loop *loop);

/* Until loop_stop(). Returns its code, or -errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int code);

/**
 * loop_post() - Have the main thread call @fn(@arg), soon and once
 *
 * Runs on: any thread.  Calls from one thread are delivered in order.  Whoever
 * posts @arg gives it up.  Also right on the main thread, to do something
 * after the present event is done with.
 */
void loop_post(struct loop *loop, loop_fn fn, void *arg);

/**
 * loop_timer() - Call @fn(@arg) once, at @at_ms of CLOCK_MONOTONIC or later
 *
 * @ret is made or, when it holds a timer, set anew.  Free with
 * sd_event_source_unref() (disable first: sd_event_source_disable_unref()).
 */
void loop_timer(struct loop *loop, sd_event_source **ret, uint64_t at_ms,
		loop_fn fn, void *arg);

/* Disarm, if there is one; it can be set again. */
void loop_timer_off(sd_event_source *timer);

/* CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME in milliseconds. */
uint64_t loop_now_ms(void);
uint64_t loop_boot_ms(void);
int64_t loop_wall_ms(void);

#endif /* BASE_LOOP_H */
