/* SPDX-License-Identifier: Apache-2.0 */
/* term.h - our terminal in raw mode, and back on every way out */
#ifndef CTL_TERM_H
#define CTL_TERM_H

#include <stdint.h>

struct error;

/* Until term_restore(), exit() or a deadly signal. */
int term_raw(int fd, struct error *err);
/* May be called any time, also from a signal handler. */
void term_restore(void);

/* Of the terminal at @fd; 24 by 80 when it does not say. */
void term_size(int fd, uint32_t *rows, uint32_t *columns);

#endif /* CTL_TERM_H */
