/* SPDX-License-Identifier: Apache-2.0 */
/* webhook_receiver.h - who gets a webhook's events, in a thread of the test
 *
 * Fails, hangs and goes away as told, checks signatures by means of its own, and
 * remembers what it took. The test's thread, but what @lock is for.
 */
#ifndef TESTS_WEBHOOK_RECEIVER_H
#define TESTS_WEBHOOK_RECEIVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECEIVER_SECRET	 "a secret of enough bytes"
#define RECEIVER_IDS_MAX 4096

struct MHD_Connection;
struct MHD_Daemon;

/* The one there is. What its thread changes while it runs is under @lock. */
struct webhook_receiver {
	pthread_mutex_t lock;
	struct MHD_Daemon *mhd;
	uint16_t port;
	unsigned int fail; /* so many requests, with @status */
	unsigned int status;
	size_t at_most; /* events in a request; more are a 413 */
	bool hang;
	struct MHD_Connection *hung[64];
	size_t n_hung;
	unsigned int requests, bad;
	char bad_why[128];
	uint64_t ids[RECEIVER_IDS_MAX]; /* taken, in order */
	size_t n_ids;
	char types[64][48]; /* of the first */
	char last_id[128];  /* webhook-id */
	char agent[64];
	unsigned int last_n;
	char cert[8192], key[8192];
};

extern struct webhook_receiver receiver;

/* On the same port again when it had one. @tls: with @cert and @key, in PEM. */
void receiver_start(bool tls);
void receiver_stop(void);

size_t receiver_n_taken(void);
unsigned int receiver_n_requests(void);
/* The sequence of the last event; 0: there was none. */
uint64_t receiver_last_taken(void);
/* Every event from @first to @last was taken, in order; repeats are fine. */
void receiver_assert_all_taken(uint64_t first, uint64_t last);

#endif /* TESTS_WEBHOOK_RECEIVER_H */
