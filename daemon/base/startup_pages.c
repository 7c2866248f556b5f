/* SPDX-License-Identifier: Apache-2.0 */
/* startup_pages.c - code and constants that only start-up needed */
#include "base/startup_pages.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* A segment nobody can write to was never written to: no object of ours or of
 * Debian's has relocations in its text, and what is made read-only after
 * relocation lies in a segment that is writable.
 */
static int drop(struct dl_phdr_info *object, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	size_t *dropped = arg;

	(void)size;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &object->dlpi_phdr[i];
		uintptr_t from = object->dlpi_addr + p->p_vaddr;
		uintptr_t to = from + p->p_filesz;

		if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
			continue;
		from &= ~(page - 1);
		to = (to + page - 1) & ~(page - 1);
		if (madvise((void *)from, to - from, MADV_DONTNEED) == 0)
			*dropped += to - from;
	}
	return 0;
}

size_t startup_pages_drop(void)
{
	size_t dropped = 0;

	dl_iterate_phdr(drop, &dropped);
	return dropped;
}
