/* SPDX-License-Identifier: Apache-2.0 */
/* fake_virt.h - the words between fake_virt.c and fake_virtd.c
 *
 * A request is one packet of text, perhaps with a descriptor; so is its answer:
 * "ok TEXT" or "err CODE TEXT" with libvirt's error code. No answer at all is a
 * libvirtd that is gone.
 *
 *	ping | list | state UUID | suspend UUID | resume UUID | destroy UUID
 *	create P|R XML		P: its vCPUs stand still at first
 *	qmp UUID JSON		to its monitor
 *	save UUID PATH		its memory into that file; it ends
 *	restore P|R PATH	"ok UUID": from such a file, as its XML has it
 *
 * And for tests, which libvirt has not:
 *
 *	poke UUID TOKEN		the guest writes it to its memory and its disk
 *	peek UUID		"ok MEMORY DISK": what it finds there
 *	fault K MODE		the K-th request from now on fails; 0: none
 *	count			how many there were, and the K-th in words
 *
 * MODE: refuse (fails, nothing done), late (done, but fails), drop (no answer,
 * nothing done), lost (done, no answer), die (the guest is killed first).
 */
#ifndef TESTS_CRASH_FAKE_VIRT_H
#define TESTS_CRASH_FAKE_VIRT_H

#include <stddef.h>

#define FAKE_VIRT_ENV "FAKE_VIRT_SOCKET"
#define FAKE_VIRT_MAX 131072

/* The answer's text behind "ok "; NULL: it failed (the error is libvirt's).
 * The caller's to free.
 */
char *fake_virt_ask(int fd, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* TESTS_CRASH_FAKE_VIRT_H */
