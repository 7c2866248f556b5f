/* SPDX-License-Identifier: Apache-2.0 */
/* selftest.h - find out whether guests can be cloned here
 *
 * Once, when libvirt answers first; the hypervisor remembers it. Until then
 * cloning is taken for granted: what it prepares meanwhile fails to be prepared
 * at worst, and a sandbox boots cold.
 */
#ifndef ENGINE_SELFTEST_H
#define ENGINE_SELFTEST_H

struct engine;

void selftest_begin(struct engine *e);

#endif /* ENGINE_SELFTEST_H */
