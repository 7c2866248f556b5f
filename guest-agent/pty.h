/* SPDX-License-Identifier: Apache-2.0 */
/* pty.h - pseudo-terminals */
#ifndef AGENT_PTY_H
#define AGENT_PTY_H

#include <stdint.h>

struct error;

/* A terminal pair; the master does not block. Both are the caller's. */
int pty_open(uint16_t rows, uint16_t columns, int *ret_master, int *ret_slave,
	     struct error *err);

/* Tells the foreground process group, too (SIGWINCH). 0 or -errno. */
int pty_resize(int master, uint16_t rows, uint16_t columns);

/* What to write to the master for "end of file". */
uint8_t pty_eof_char(int master);

#endif /* AGENT_PTY_H */
