/* SPDX-License-Identifier: Apache-2.0 */
/* term.c - our terminal in raw mode, and back on every way out */
#include "ctl/term.h"

#include "base/error.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios saved;
static volatile sig_atomic_t raw_fd = -1;

void term_restore(void)
{
	int fd = raw_fd;

	if (fd < 0)
		return;
	raw_fd = -1;
	/* A background process that may not write would be stopped here. */
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGTTOU);
	sigprocmask(SIG_BLOCK, &set, &old);
	tcsetattr(fd, TCSADRAIN, &saved);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void on_deadly(int signal)
{
	term_restore();
	/* SA_RESETHAND: this time it does what it always does. */
	raise(signal);
}

int term_raw(int fd, struct error *err)
{
	static const int deadly[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE,
				      SIGILL };
	struct sigaction sa = { .sa_handler = on_deadly,
				.sa_flags = (int)SA_RESETHAND | SA_NODEFER };
	struct termios raw;

	if (tcgetattr(fd, &saved) < 0)
		return err_sys(err, errno, "read the terminal's settings");
	raw = saved;
	cfmakeraw(&raw);
	atexit(term_restore);
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		sigaction(deadly[i], &sa, NULL);
	raw_fd = fd;
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0) {
		raw_fd = -1;
		return err_sys(err, errno, "set the terminal to raw mode");
	}
	return 0;
}

void term_size(int fd, uint32_t *rows, uint32_t *columns)
{
	struct winsize ws;

	*rows = 24;
	*columns = 80;
	if (ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_row && ws.ws_col) {
		*rows = ws.ws_row;
		*columns = ws.ws_col;
	}
}
