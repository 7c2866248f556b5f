/* SPDX-License-Identifier: Apache-2.0 */
/* init.h - PID 1 of a guest: from the initramfs to the image's root */
#ifndef AGENT_INIT_H
#define AGENT_INIT_H

#include <stddef.h>

struct error;

/* The kernel's file systems, a console on 0-2, the modules that
 * /modules.load names.
 */
void init_early(void);

/**
 * init_root() - Wait for the image's disk, mount it, make it the root
 *
 * On failure the initramfs stays the root.
 *
 * Return: 0, or -1 with *@err set
 */
int init_root(struct error *err);

/**
 * init_kernel_option() - The value of "@name=..." on the kernel's command line
 * @cmdline:	All of it
 *
 * Pure. Return: 1, or 0: there is none (or it does not fit)
 */
int init_kernel_option(const char *cmdline, const char *name, char *dst,
		       size_t size);

#endif /* AGENT_INIT_H */
