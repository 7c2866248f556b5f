/* SPDX-License-Identifier: Apache-2.0 */
/* alloc_fault.h - no memory, once
 *
 * The program's malloc() and its family, for all of its threads and libraries.
 * Between alloc_fault_begin() and alloc_fault_end() what CRASH_ALLOC says
 * happens:
 *
 *	count		nothing; descriptor 3 is told at the end
 *				path HASH COUNT CALL FRAME FRAME ..
 *			for each way that led to an allocation, the innermost
 *			frame first (MODULE+OFFSET), and
 *				points N	of all allocations
 *	HASH:K		the K-th allocation of that way fails, and is told:
 *				hit K CALL SIZE FRAME FRAME ..
 *
 * Ways rather than numbers, for with more than one thread the k-th allocation
 * is another one in each run. Nothing set: it is the C library's malloc().
 */
#ifndef TESTS_CRASH_ALLOC_FAULT_H
#define TESTS_CRASH_ALLOC_FAULT_H

void alloc_fault_begin(void);
void alloc_fault_end(void);

#endif /* TESTS_CRASH_ALLOC_FAULT_H */
