/* SPDX-License-Identifier: Apache-2.0 */
/* fake_qemu.h - a guest's process, as far as the engine looks at it
 *
 * It maps its memory file privately, opens its disk's layers, listens on the
 * agent's socket and answers the monitor's commands that hv_monitor.c sends.
 * What it knows is in its memory (the first MiB) and in its disk: a token that
 * tests poke, written to both. Device state is a checksum of that memory, and
 * state that does not fit the memory is refused: a snapshot that mixes two
 * moments does not load.
 *
 *	fake-qemu -uuid UUID RAM MIB AGENT STATE LAYER..
 *
 * STATE: inmigrate, paused, running. The control socket is descriptor 3.
 */
#ifndef TESTS_CRASH_FAKE_QEMU_H
#define TESTS_CRASH_FAKE_QEMU_H

#include <stddef.h>

#define FAKE_LAYERS_MAX 72

int fake_qemu_main(int argc, char **argv);

/* One packet of a SOCK_SEQPACKET with at most one descriptor (-1: none). */
int packet_send(int to, const char *text, size_t len, int fd);
/* Its length, 0 at the end, -1; *@ret_fd is -1 when there came none. */
long packet_receive(int from, char *buf, size_t size, int *ret_fd);

#endif /* TESTS_CRASH_FAKE_QEMU_H */
