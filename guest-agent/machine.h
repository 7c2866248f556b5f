/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - changing the guest itself: clock, entropy, names, its root
 *
 * Only in a guest (PID 1): a test's agent must leave its host alone.
 */
#ifndef AGENT_MACHINE_H
#define AGENT_MACHINE_H

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sandbox/agent/v1/agent.pb-c.h"

/* CLOCK_MONOTONIC. */
uint64_t machine_monotonic_ns(void);

/* Set the wall clock to what it is now if it was that when CLOCK_MONOTONIC was
 * @at_ns; 0: if it is that now.
 */
int machine_set_clock(int64_t seconds, uint32_t nanos, uint64_t at_ns,
		      struct error *err);

/* Mix in, credit, and reseed the generator: two clones draw different bytes
 * from here on.
 */
int machine_add_entropy(const uint8_t *data, size_t len, struct error *err);

int machine_set_hostname(const char *name, struct error *err);

/* /etc/hosts as it should be: our lines first, then what others put into @old
 * (the file so far). Now the caller's. Pure.
 */
char *machine_hosts(const char *old, const char *hostname, const char *address);

/* Files that are ours, over the image's. */
enum machine_file {
	MACHINE_RESOLV_CONF,
	MACHINE_HOSTS,
	MACHINE_HOSTNAME,
	MACHINE_MACHINE_ID,

	MACHINE_FILE_COUNT,
};

/**
 * struct machine_root - What a Configure wants of the root file system
 * @text:	Of each file; NULL: as it is
 * @failed:	What could not be done
 */
struct machine_root {
	bool is_init;
	bool grow;
	char workdir[PATH_MAX]; /* empty: none */
	char *hostname;
	char *address; /* NULL: none */
	char *text[MACHINE_FILE_COUNT];
	struct error failed[MACHINE_FILE_COUNT + 2];
	size_t n_failed;
};

void machine_root_prepare(struct machine_root *root,
			  const Sandbox__Agent__V1__ConfigureRequest *msg,
			  uint32_t address, bool is_init);
void machine_root_fini(struct machine_root *root);

/* Grow the root's ext4 to the size of the disk it is on, unless it has it. */
int machine_grow_root(struct error *err);

/* Any thread; blocks. All of it. */
void machine_root_apply(struct machine_root *root);
/* Any thread: only what writes nothing to the root. */
void machine_root_refresh(struct machine_root *root);

#endif /* AGENT_MACHINE_H */
