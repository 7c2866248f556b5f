/* SPDX-License-Identifier: Apache-2.0 */
/* pty.c - pseudo-terminals
 *
 * The slave is opened through the master (TIOCGPTPEER): no path, so nothing in
 * the guest's /dev/pts can be put in its place.
 */
#include "pty.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#define EOF_CHAR 4 /* ^D */

int pty_open(uint16_t rows, uint16_t columns, int *ret_master, int *ret_slave,
	     struct error *err)
{
	_cleanup_close_ int master = -EBADF;
	_cleanup_close_ int slave = -EBADF;
	int unlocked = 0;

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (master < 0)
		return err_sys(err, errno, "open a terminal");
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return err_sys(err, errno, "unlock a terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, errno, "open a terminal's other side");
	pty_resize(master, rows, columns);
	*ret_master = TAKE_FD(master);
	*ret_slave = TAKE_FD(slave);
	return 0;
}

int pty_resize(int master, uint16_t rows, uint16_t columns)
{
	struct winsize ws = { .ws_row = rows, .ws_col = columns };

	return ioctl(master, TIOCSWINSZ, &ws) < 0 ? -errno : 0;
}

uint8_t pty_eof_char(int master)
{
	struct termios tio;

	if (tcgetattr(master, &tio) < 0 || tio.c_cc[VEOF] == _POSIX_VDISABLE)
		return EOF_CHAR;
	return tio.c_cc[VEOF];
}
