/* SPDX-License-Identifier: Apache-2.0 */
/* recipe.c - the program that builds an image's archive */
#include "ctl/recipe.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "ctl/installed.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct recipe {
	pid_t pid; /* 0: waited for */
	int fd;
};

/* The caller's to free. */
static char *find_program(void)
{
	const char *env = getenv("SANDBOXD_IMAGE_BUILD");

	if (env && *env)
		return xstrdup(env);
	return installed_path("image-build", "scripts/image-build");
}

static void run_child(const char *program, const char *name, int out_fd,
		      pid_t parent)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	/* Of its own group, so that Ctrl-C reaches it in our order: first the
	 * call is cancelled, then the program ended.
	 */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(126);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(out_fd, STDOUT_FILENO) < 0)
		_exit(126);
	execl(program, program, name, (char *)NULL);
	_exit(127);
}

int recipe_start(const char *name, struct recipe **ret, struct error *err)
{
	_cleanup_free_ char *program = find_program();
	pid_t parent = getpid();
	struct recipe *r;
	int fds[2];
	pid_t pid;

	if (access(program, X_OK) < 0)
		return err_sys(err, errno, "%s", program);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	pid = fork();
	if (pid == 0)
		run_child(program, name, fds[1], parent);
	close(fds[1]);
	if (pid < 0) {
		err_sys(err, errno, "start %s", program);
		close(fds[0]);
		return -1;
	}
	r = xcalloc(1, sizeof(*r));
	*r = (struct recipe){ .pid = pid, .fd = fds[0] };
	*ret = r;
	return 0;
}

int recipe_fd(const struct recipe *r)
{
	return r->fd;
}

int recipe_wait(struct recipe *r, struct error *err)
{
	int status = 0;

	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	r->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		return err_set(err, ERR_INTERNAL,
			       "image-build was killed by signal %d",
			       WTERMSIG(status));
	return err_set(err, ERR_INTERNAL, "image-build failed with status %d",
		       WEXITSTATUS(status));
}

void recipe_freep(struct recipe **rp)
{
	struct recipe *r = *rp;

	if (!r)
		return;
	close(r->fd);
	if (r->pid) {
		kill(-r->pid, SIGTERM);
		while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	free(r);
	*rp = NULL;
}
