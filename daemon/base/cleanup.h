/* SPDX-License-Identifier: Apache-2.0 */
/* cleanup.h - ownership bound to a variable's scope */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <errno.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Give away what an owning variable holds. */
#define TAKE_PTR(p)                              \
	({                                       \
		__typeof__(p) *take_pp_ = &(p);  \
		__typeof__(p) take_p_ = *take_pp_; \
		*take_pp_ = NULL;                \
		take_p_;                         \
	})

#define TAKE_FD(fd)                     \
	({                              \
		int *take_fdp_ = &(fd); \
		int take_fd_ = *take_fdp_; \
		*take_fdp_ = -EBADF;    \
		take_fd_;               \
	})

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_	 _cleanup_(cleanup_free)
#define _cleanup_close_	 _cleanup_(cleanup_close)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose)

/* Close if open, and forget: for fds in structs. */
static inline void fd_close(int *fd)
{
	cleanup_close(fd);
	*fd = -EBADF;
}

#endif /* BASE_CLEANUP_H */
