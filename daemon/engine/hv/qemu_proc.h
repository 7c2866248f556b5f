/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_proc.h - the QEMU process of a guest, found without libvirt
 *
 * libvirt tells nobody a guest's process id. It is needed to read and write
 * the guest's memory, to wait until it is really gone, and to end it when
 * libvirt is lost.
 */
#ifndef ENGINE_QEMU_PROC_H
#define ENGINE_QEMU_PROC_H

#include <stdint.h>
#include <sys/types.h>

struct error;

/**
 * struct qemu_proc - One process, held so that its number cannot be reused
 * @pid:	Its number; 0: none
 * @pidfd:	Becomes readable when it ends
 */
struct qemu_proc {
	pid_t pid;
	int pidfd;
};

#define QEMU_PROC_NONE { .pidfd = -EBADF }

/**
 * qemu_proc_open() - Find the QEMU of a guest
 * @uid:	It must run under this uid; (uid_t)-1: any. A process under
 *		another uid that claims the guest's name is passed over
 *
 * Any thread. Remembers what it saw; the youngest processes are looked at first.
 *
 * Return: 1 found, 0 there is none, -errno
 */
int qemu_proc_open(const char *uuid, uid_t uid, struct qemu_proc *ret);
void qemu_proc_close(struct qemu_proc *proc);

/* Wait until it has ended. 0, -ETIME or -errno. */
int qemu_proc_wait(const struct qemu_proc *proc, unsigned int timeout_ms);
int qemu_proc_kill(const struct qemu_proc *proc);

/* What it is doing that holds it (state letter and kernel function): for
 * messages.
 */
void qemu_proc_describe(const struct qemu_proc *proc, char *buf, size_t size);

/* CPU time in ms; memory that is its alone in bytes, NULL: not asked for (it
 * takes a walk over all of it). 0 or -errno.
 */
int qemu_proc_stats(const struct qemu_proc *proc, uint64_t *ret_cpu_ms,
		    uint64_t *ret_memory);

#endif /* ENGINE_QEMU_PROC_H */
