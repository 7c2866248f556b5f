/* SPDX-License-Identifier: Apache-2.0 */
/* startup_pages.h - code and constants that only start-up needed */
#ifndef BASE_STARTUP_PAGES_H
#define BASE_STARTUP_PAGES_H

#include <stddef.h>

/**
 * startup_pages_drop() - Unmap what is mapped of programs and libraries
 *
 * Two thirds of it only start-up needs: relocation, constructors, the linker's
 * search for names. All of it is in the page cache, where the next use finds
 * it (a minor fault for 64 KiB); what is not used again the kernel may take
 * for others when memory is short. Nothing that was written to is touched.
 *
 * Runs on: any thread, while others run.
 *
 * Return: bytes of address space that were given back
 */
size_t startup_pages_drop(void);

#endif /* BASE_STARTUP_PAGES_H */
