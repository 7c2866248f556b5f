/* SPDX-License-Identifier: Apache-2.0 */
/* vm.h - a stand-in for a virtual machine: a process tree with a real agent
 *
 * One directory each, which is all that is known of it: it outlives who made
 * it, as QEMU outlives the daemon. Its "disk" is <dir>/root, which the agent
 * and its children see as /srv. Needs root (namespaces).
 */
#ifndef TESTS_MODEL_VM_H
#define TESTS_MODEL_VM_H

#include <stdbool.h>
#include <sys/types.h>

struct error;

#define VM_OPTION                                                              \
	"--vm" /* the first argument of a program that has vm_main() */
#define VM_WORKDIR "/srv"

/* To be called by main() of whatever calls vm_start(), for that option. */
int vm_main(int argc, char **argv);

/* Start @agent as the guest in @dir; returns once its socket is there. */
int vm_start(const char *dir, const char *agent, struct error *err);
/* Kill all of it, and wait until it is gone. Fine when it is already. */
int vm_kill(const char *dir, struct error *err);
bool vm_is_alive(const char *dir);
/* Of its first process; -1: there is none. */
pid_t vm_pid(const char *dir);
/* Connected to the agent, or -1. */
int vm_connect(const char *dir);

/* The files of @from (no directories), into the new directory @to. */
int vm_copy(const char *from, const char *to, struct error *err);

#endif /* TESTS_MODEL_VM_H */
