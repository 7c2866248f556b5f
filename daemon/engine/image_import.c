/* SPDX-License-Identifier: Apache-2.0 */
/* image_import.c - from a pipe with an archive to a published image
 *
 * Theory of operation
 * ===================
 *
 * Three steps, one after another:
 *
 *	receive	a job copies the pipe into a file
 *	make	sandboxd-mkimage reads that and writes the disk; here its
 *		reports and its end are waited for
 *	publish	a job hashes the disk, makes it durable and renames the
 *		directory to its place
 *
 * All happens in a directory whose name begins with a dot, which the store
 * deletes when it opens: whatever the moment of a crash, there is an image or
 * there is nothing. The digest is computed here and not by mkimage: it is what
 * templates are known by, and mkimage has read hostile bytes.
 *
 * While a job runs, it alone touches the import, but for @cancel, @done_bytes
 * and @total_bytes. The timer that reports progress reads only these.
 */
#include "engine/image.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image_manifest.h"
#include "engine/image_store.h"
#include "sandbox/ipc/v1/image.pb-c.h"

#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PIECE	   (1u << 20)
#define REPORT_MAX (256u << 10)
#define TICK_MS	   250
#define POLL_MS	   100
/* Longer than mkimage's own limit on CPU time. */
#define MAKE_MS (3600u * 1000)

enum step { STEP_RECEIVE = 0, STEP_MAKE, STEP_PUBLISH, STEP_COUNT };

struct image_import {
	struct list link;
	struct image_store *store; /* NULL: abandoned */
	struct image_import_ops ops;
	void *arg;
	struct image_import_spec spec; /* its env is ours */
	struct image image;
	enum step step;
	char dir[48]; /* within the store's */
	char final[IMAGE_DIR_SIZE];
	int parent_fd; /* the store's directory */
	int dir_fd, pipe, archive, disk, report, pidfd;
	pid_t pid;
	uint64_t size_max;
	sd_event_source *timer, *on_report, *on_exit;
	uint64_t deadline_ms;
	bool have_result;
	uid_t uid;
	struct error err; /* the first that went wrong */
	const char *what; /* of progress, in STEP_MAKE */
	atomic_bool cancel;
	_Atomic uint64_t done_bytes, total_bytes;
};

static void make_image(struct image_import *im);
static void publish(struct image_import *im);

static void free_import(struct image_import *im)
{
	for (size_t i = 0; i < im->spec.n_env; i++)
		free(im->spec.env[i]);
	free(im->spec.env);
	image_fini(&im->image);
	fd_close(&im->dir_fd);
	fd_close(&im->parent_fd);
	fd_close(&im->pipe);
	fd_close(&im->archive);
	fd_close(&im->disk);
	fd_close(&im->report);
	fd_close(&im->pidfd);
	free(im);
}

static void stop_watching(struct image_import *im)
{
	im->timer = sd_event_source_disable_unref(im->timer);
	im->on_report = sd_event_source_disable_unref(im->on_report);
	im->on_exit = sd_event_source_disable_unref(im->on_exit);
}

static void kill_maker(struct image_import *im)
{
	if (im->pid <= 0)
		return;
	pidfd_send_signal(im->pidfd, SIGKILL, NULL, 0);
	while (waitpid(im->pid, NULL, 0) < 0 && errno == EINTR)
		;
	im->pid = 0;
}

/* ---- the end ---- */

static int clean_run(void *arg, struct error *err)
{
	struct image_import *im = arg;

	return fd_remove_tree(im->parent_fd, im->dir, err);
}

static void clean_done(void *arg, int rc, const struct error *err)
{
	struct image_import *im = arg;

	if (rc < 0)
		log_warn("image import's '%s': %s", im->dir, err->msg);
	if (im->store) {
		list_del(&im->link);
		im->store->n_imports--;
		log_info("image '%s': import failed: %s", im->spec.name,
			 im->err.msg);
		im->ops.done(NULL, &im->err, im->arg);
	}
	free_import(im);
}

static const struct job_ops clean_ops = { "image-clean", clean_run,
					  clean_done };

/* Main thread, no job running. */
static void fail(struct image_import *im, const struct error *err)
{
	if (!im->err.code)
		im->err = *err;
	if (atomic_load(&im->cancel)) {
		im->err = (struct error){ 0 };
		err_set(&im->err, ERR_CANCELLED, "the import was cancelled");
	}
	stop_watching(im);
	kill_maker(im);
	if (im->store) {
		job_start(im->store->jobs, &clean_ops, im);
	} else {
		/* The daemon stops: no more jobs. Files go at its next start. */
		free_import(im);
	}
}

/* ---- receive ---- */

/* Wait for the pipe. 1: readable, 0: nothing yet. */
static int wait_pipe(struct image_import *im)
{
	struct pollfd p = { .fd = im->pipe, .events = POLLIN };
	int r = poll(&p, 1, POLL_MS);

	return r < 0 && errno != EINTR ? -errno : r > 0;
}

static int receive_run(void *arg, struct error *err)
{
	struct image_import *im = arg;
	_cleanup_free_ uint8_t *buf = xcalloc(1, PIECE);
	uint64_t total = 0;

	for (;;) {
		ssize_t n;
		int r;

		if (atomic_load(&im->cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		r = wait_pipe(im);
		if (r < 0)
			return err_sys(err, -r, "wait for the archive");
		if (r == 0)
			continue;
		n = read(im->pipe, buf, PIECE);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return err_sys(err, errno, "read the archive");
		if (n == 0)
			break;
		total += (uint64_t)n;
		if (total > im->size_max)
			return err_set(err, ERR_LIMIT,
				       "the archive is larger than %" PRIu64
				       " MiB",
				       im->size_max >> 20);
		r = fd_write_full(im->archive, buf, (size_t)n);
		if (r < 0)
			return err_sys(err, -r, "store the archive");
		atomic_store(&im->done_bytes, total);
	}
	/* A cancel always comes before the end that it explains. */
	if (atomic_load(&im->cancel))
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (total == 0)
		return err_set(err, ERR_INVALID, "the archive is empty");
	return 0;
}

static void receive_done(void *arg, int rc, const struct error *err)
{
	struct image_import *im = arg;

	if (rc < 0 || !im->store || atomic_load(&im->cancel))
		fail(im, err);
	else
		make_image(im);
}

static const struct job_ops receive_ops = { "image-receive", receive_run,
					    receive_done };

/* ---- make ---- */

static void on_failure(struct image_import *im,
		       const Sandbox__Ipc__V1__ImageFailure *f)
{
	enum err_code code =
		f->kind == SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_INVALID
			? ERR_INVALID
		: f->kind == SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_LIMIT
			? ERR_LIMIT
			: ERR_INTERNAL;
	char text[ERR_MSG_MAX];

	if (im->err.code)
		return;
	str_escape(text, sizeof(text), f->message, strlen(f->message));
	err_set(&im->err, code, "%s", text);
}

static int take_result(struct image_import *im,
		       const Sandbox__Ipc__V1__ImageResult *r,
		       struct error *err)
{
	static const char *const sources[] = {
		[SANDBOX__IPC__V1__IMAGE_RESULT__SOURCE__SOURCE_ROOTFS] =
			"rootfs",
		[SANDBOX__IPC__V1__IMAGE_RESULT__SOURCE__SOURCE_OCI] = "oci",
		[SANDBOX__IPC__V1__IMAGE_RESULT__SOURCE__SOURCE_DOCKER] =
			"docker",
	};
	const struct image_import_spec *spec = &im->spec;
	struct image *image = &im->image;
	const char *user = spec->user[0] ? spec->user : r->user;
	const char *dir = spec->workdir[0] ? spec->workdir : r->workdir;

	if (r->source < 1 || r->source > 3)
		return err_set(err, ERR_INTERNAL, "unknown kind of archive");
	str_copy(image->source, sizeof(image->source), sources[r->source]);
	if (str_copy(image->user, sizeof(image->user), user) < 0 ||
	    str_copy(image->workdir, sizeof(image->workdir), dir) < 0 ||
	    (dir[0] && dir[0] != '/'))
		return err_set(err, ERR_INVALID,
			       "the image's user or directory cannot be");
	if (image_set_env(image, r->env, r->n_env, spec->env, spec->n_env,
			  err) < 0)
		return -1;
	im->have_result = true;
	return 0;
}

/* One report, checked as any peer's. */
static int take_report(struct image_import *im, const uint8_t *data, size_t len,
		       struct error *err)
{
	Sandbox__Ipc__V1__ImageReport *r =
		sandbox__ipc__v1__image_report__unpack(NULL, len, data);
	int rc = 0;

	if (!r || im->have_result) {
		rc = err_set(err, ERR_INTERNAL, "mkimage broke the rules");
	} else if (r->body_case ==
		   SANDBOX__IPC__V1__IMAGE_REPORT__BODY_PROGRESS) {
		im->what =
			r->progress->step ==
					SANDBOX__IPC__V1__IMAGE_PROGRESS__STEP__STEP_WRITING
				? "writing the file system"
				: "reading the archive";
		atomic_store(&im->done_bytes, r->progress->done);
		atomic_store(&im->total_bytes, r->progress->total);
	} else if (r->body_case ==
		   SANDBOX__IPC__V1__IMAGE_REPORT__BODY_FAILURE) {
		on_failure(im, r->failure);
	} else if (r->body_case ==
		   SANDBOX__IPC__V1__IMAGE_REPORT__BODY_RESULT) {
		rc = take_result(im, r->result, err);
	}
	if (r)
		sandbox__ipc__v1__image_report__free_unpacked(r, NULL);
	return rc;
}

/* Read what there is. 0, or -1: it broke the rules. */
static int drain_reports(struct image_import *im, struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, REPORT_MAX);

	for (;;) {
		ssize_t n = recv(im->report, buf, REPORT_MAX,
				 MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		if (n > (ssize_t)REPORT_MAX)
			return err_set(err, ERR_INTERNAL,
				       "mkimage's report is too long");
		if (take_report(im, buf, (size_t)n, err) < 0)
			return -1;
	}
}

static int on_report_ready(sd_event_source *s, int fd, uint32_t revents,
			   void *arg)
{
	struct image_import *im = arg;
	struct error err = { 0 };

	(void)s;
	(void)fd;
	if (drain_reports(im, &err) < 0)
		fail(im, &err);
	else if (revents & (EPOLLHUP | EPOLLERR))
		im->on_report = sd_event_source_disable_unref(im->on_report);
	return 0;
}

static void how_it_ended(struct image_import *im, const siginfo_t *info,
			 struct error *err)
{
	if (info->si_code == CLD_EXITED)
		err_set(err, ERR_INTERNAL, "mkimage exited with %d",
			info->si_status);
	else if (info->si_status == SIGXCPU || info->si_status == SIGABRT ||
		 info->si_status == SIGKILL)
		err_set(err, ERR_LIMIT,
			"the archive needs more time or memory than is "
			"allowed");
	else
		err_set(err, ERR_INTERNAL, "mkimage was killed by signal %d",
			info->si_status);
	log_warn("image '%s': %s (signal or status %d)", im->spec.name,
		 err->msg, info->si_status);
}

static int on_maker_exit(sd_event_source *s, int fd, uint32_t revents,
			 void *arg)
{
	struct image_import *im = arg;
	siginfo_t info = { 0 };
	struct error err = { 0 };
	int rc;

	(void)s;
	(void)fd;
	(void)revents;
	rc = drain_reports(im, &err);
	while (waitid(P_PID, (id_t)im->pid, &info, WEXITED) < 0 &&
	       errno == EINTR)
		;
	im->pid = 0;
	stop_watching(im);
	if (rc == 0 && im->err.code)
		err = im->err;
	else if (rc == 0 && !atomic_load(&im->cancel) &&
		 (info.si_code != CLD_EXITED || info.si_status ||
		  !im->have_result))
		how_it_ended(im, &info, &err);
	if (rc < 0 || err.code || atomic_load(&im->cancel))
		fail(im, &err);
	else
		publish(im);
	return 0;
}

/* mkimage with its three descriptors as 3, 4 and 5, and nothing else. */
static int spawn_maker(struct image_import *im, int report, struct error *err)
{
	posix_spawn_file_actions_t actions;
	int fds[3] = { im->archive, im->disk, report }, high[3];
	posix_spawnattr_t attr;
	char size[24], uid[16], gid[16];
	const char *argv[] = { im->store->program,
			       "--in",
			       "3",
			       "--out",
			       "4",
			       "--report",
			       "5",
			       "--size-max",
			       size,
			       "--uid",
			       uid,
			       "--gid",
			       gid,
			       NULL };
	sigset_t set;
	int r;

	snprintf(size, sizeof(size), "%" PRIu64, im->size_max);
	snprintf(uid, sizeof(uid), "%u", im->store->uid);
	snprintf(gid, sizeof(gid), "%u", im->store->gid);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (int i = 0; i < 3; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
		posix_spawn_file_actions_adddup2(&actions, high[i], 3 + i);
	}
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn(&im->pid, argv[0], &actions, &attr, (char **)argv,
			environ);
	if (r != 0)
		im->pid = 0;
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; i < 3; i++)
		fd_close(&high[i]);
	return r == 0 ? 0 : err_sys(err, r, "start '%s'", argv[0]);
}

static int start_maker(struct image_import *im, struct error *err)
{
	_cleanup_close_ int theirs = -EBADF;
	sd_event *event = loop_event(im->store->loop);
	int fds[2], r;

	/* mkimage's mke2fs opens it by its path in /proc. */
	if (im->store->uid &&
	    fchown(im->disk, im->store->uid, im->store->gid) < 0)
		return err_sys(err, errno, "give the disk to mkimage");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "make a socket");
	im->report = fds[0];
	theirs = fds[1];
	if (spawn_maker(im, theirs, err) < 0)
		return -1;
	im->pidfd = pidfd_open(im->pid, 0);
	r = im->pidfd < 0 ? -errno : 0;
	if (r == 0)
		r = sd_event_add_io(event, &im->on_exit, im->pidfd, EPOLLIN,
				    on_maker_exit, im);
	if (r >= 0)
		r = sd_event_add_io(event, &im->on_report, im->report, EPOLLIN,
				    on_report_ready, im);
	if (r >= 0)
		return 0;
	kill(im->pid, SIGKILL);
	waitpid(im->pid, NULL, 0);
	im->pid = 0;
	return err_sys(err, -r, "watch mkimage");
}

static void make_image(struct image_import *im)
{
	struct error err = { 0 };

	im->step = STEP_MAKE;
	im->what = "reading the archive";
	im->deadline_ms = loop_now_ms() + MAKE_MS;
	atomic_store(&im->done_bytes, 0);
	if (start_maker(im, &err) < 0)
		fail(im, &err);
}

/* ---- publish ---- */

static int hash_range(struct image_import *im, EVP_MD_CTX *hash, uint8_t *buf,
		      off_t from, off_t to, bool hole, struct error *err)
{
	if (hole)
		memset(buf, 0, PIECE);
	while (from < to) {
		size_t n = to - from < PIECE ? (size_t)(to - from) : PIECE;
		int r = hole ? 0 : fd_pread_full(im->disk, buf, n, from);

		if (r < 0)
			return err_sys(err, -r, "read the disk");
		if (atomic_load(&im->cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		EVP_DigestUpdate(hash, buf, n);
		from += (off_t)n;
		atomic_store(&im->done_bytes, (uint64_t)from);
	}
	return 0;
}

/* Of the whole disk, holes as the zeros they read as. */
static int hash_disk(struct image_import *im, off_t size, EVP_MD_CTX *hash,
		     struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, PIECE);
	off_t at = 0;

	EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
	while (at < size) {
		off_t data = lseek(im->disk, at, SEEK_DATA), hole;

		if (data < 0 && errno != ENXIO)
			return err_sys(err, errno, "read the disk");
		if (data < 0)
			data = size;
		if (hash_range(im, hash, buf, at, data, true, err) < 0)
			return -1;
		if (data == size)
			return 0;
		hole = lseek(im->disk, data, SEEK_HOLE);
		if (hole < 0)
			return err_sys(err, errno, "read the disk");
		if (hash_range(im, hash, buf, data, hole, false, err) < 0)
			return -1;
		at = hole;
	}
	return 0;
}

static int digest_disk(struct image_import *im, off_t size, struct error *err)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	int rc = hash_disk(im, size, hash, err);

	if (rc == 0) {
		EVP_DigestFinal_ex(hash, md, &len);
		memcpy(im->image.digest, "sha256:", 7);
		str_hex(im->image.digest + 7, md, len);
	}
	EVP_MD_CTX_free(hash);
	return rc;
}

/* Ours, read only, and durable. */
static int seal_disk(struct image_import *im, struct error *err)
{
	if ((im->uid && fchown(im->disk, 0, 0) < 0) ||
	    fchmod(im->disk, 0444) < 0)
		return err_sys(err, errno, "take the disk back");
	return fsync(im->disk) < 0 ? err_sys(err, errno, "sync the disk") : 0;
}

static int write_manifest(int dir_fd, const struct image *image,
			  struct error *err)
{
	_cleanup_free_ char *text = image_manifest_format(image);

	return fd_replace_file(dir_fd, "manifest.json", text, strlen(text),
			       0644, err);
}

/* Rename to its place. The same image under the same name is there already:
 * only what the manifest says is new.
 */
static int put_in_place(struct image_import *im, struct error *err)
{
	_cleanup_close_ int there = -EBADF;

	image_dir_name(&im->image, im->final);
	there = openat(im->parent_fd, im->final,
		       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (there >= 0) {
		if (write_manifest(there, &im->image, err) < 0)
			return -1;
		return fd_remove_tree(im->parent_fd, im->dir, err);
	}
	if (unlinkat(im->dir_fd, "archive", 0) < 0)
		return err_sys(err, errno, "remove the archive");
	if (write_manifest(im->dir_fd, &im->image, err) < 0)
		return -1;
	if (fchmod(im->dir_fd, 0711) < 0 || fsync(im->dir_fd) < 0 ||
	    renameat(im->parent_fd, im->dir, im->parent_fd, im->final) < 0 ||
	    fsync(im->parent_fd) < 0)
		return err_sys(err, errno, "publish the image");
	return 0;
}

static int publish_run(void *arg, struct error *err)
{
	struct image_import *im = arg;
	struct stat st;

	if (seal_disk(im, err) < 0)
		return -1;
	if (fstat(im->disk, &st) < 0)
		return err_sys(err, errno, "look at the disk");
	im->image.size_bytes = (uint64_t)st.st_size;
	im->image.stored_bytes = (uint64_t)st.st_blocks * 512;
	atomic_store(&im->total_bytes, im->image.size_bytes);
	if (digest_disk(im, st.st_size, err) < 0)
		return -1;
	return put_in_place(im, err);
}

static void publish_done(void *arg, int rc, const struct error *err)
{
	struct image_import *im = arg;
	const struct image *image;

	/* Too late to cancel what is done. */
	if (rc < 0) {
		fail(im, err);
		return;
	}
	stop_watching(im);
	if (im->store) {
		image = image_store_add(im->store, &im->image, im->final);
		list_del(&im->link);
		im->store->n_imports--;
		log_info("image '%s' (%s) imported, %" PRIu64 " MiB",
			 image->name, image->digest, image->stored_bytes >> 20);
		im->ops.done(image, NULL, im->arg);
	}
	free_import(im);
}

static const struct job_ops publish_ops = { "image-publish", publish_run,
					    publish_done };

static void on_tick(void *arg);

static void arm_tick(struct image_import *im)
{
	loop_timer(im->store->loop, &im->timer, loop_now_ms() + TICK_MS,
		   on_tick, im);
}

static void publish(struct image_import *im)
{
	const struct image *there = image_by_name(im->store, im->spec.name);
	struct error err = { 0 };

	/* Another import of the name may have been quicker. */
	if (there && !im->spec.replace) {
		err_set(&err, ERR_EXISTS, "there is an image '%s' already",
			im->spec.name);
		err_reason(&err, NULL, "name");
		fail(im, &err);
		return;
	}
	im->step = STEP_PUBLISH;
	atomic_store(&im->done_bytes, 0);
	str_copy(im->image.name, sizeof(im->image.name), im->spec.name);
	im->image.created_ms = loop_wall_ms();
	/* To be the newer one, whatever the clock does. */
	if (there && im->image.created_ms <= there->created_ms)
		im->image.created_ms = there->created_ms + 1;
	arm_tick(im);
	job_start(im->store->jobs, &publish_ops, im);
}

/* ---- the beginning ---- */

static void on_tick(void *arg)
{
	struct image_import *im = arg;
	static const char *const names[STEP_COUNT] = {
		[STEP_RECEIVE] = "receiving",
		[STEP_MAKE] = "making the file system",
		[STEP_PUBLISH] = "verifying",
	};
	struct error err = { 0 };

	if (im->step == STEP_MAKE && im->pid > 0 &&
	    loop_now_ms() > im->deadline_ms) {
		err_set(&err, ERR_LIMIT,
			"the archive needs more time than is allowed");
		fail(im, &err);
		return;
	}
	im->ops.progress(im->step == STEP_MAKE ? im->what : names[im->step],
			 atomic_load(&im->done_bytes),
			 atomic_load(&im->total_bytes), im->arg);
	arm_tick(im);
}

static int check_spec(struct image_store *store,
		      const struct image_import_spec *spec, struct error *err)
{
	struct image probe = { .n_env = 0 };
	int rc;

	if (!image_name_is_valid(spec->name))
		return err_field(err, "name",
				 "must be 1-128 characters: [a-z0-9] then "
				 "[a-z0-9._/:-]");
	if (spec->workdir[0] && spec->workdir[0] != '/')
		return err_field(err, "workdir", "must be absolute");
	rc = image_set_env(&probe, NULL, 0, spec->env, spec->n_env, err);
	image_fini(&probe);
	if (rc < 0)
		return -1;
	if (spec->size_bytes > store->size_max)
		return err_field(err, "size_bytes",
				 "at most %" PRIu64 " MiB are allowed",
				 store->size_max >> 20);
	if (!spec->replace && image_by_name(store, spec->name)) {
		err_set(err, ERR_EXISTS, "there is an image '%s' already",
			spec->name);
		return err_reason(err, "ALREADY_EXISTS", "name");
	}
	if (store->n_imports >= IMAGE_IMPORTS_MAX)
		return err_set(err, ERR_LIMIT,
			       "%d images are being imported already",
			       IMAGE_IMPORTS_MAX);
	return 0;
}

static int open_files(struct image_import *im, struct error *err)
{
	if (mkdirat(im->parent_fd, im->dir, 0700) < 0)
		return err_sys(err, errno, "make a directory for the image");
	im->dir_fd = openat(im->parent_fd, im->dir,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (im->dir_fd < 0)
		return err_sys(err, errno, "open the image's directory");
	im->archive = openat(im->dir_fd, "archive",
			     O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	im->disk = openat(im->dir_fd, "root.raw",
			  O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (im->archive < 0 || im->disk < 0)
		return err_sys(err, errno, "make the image's files");
	return 0;
}

static struct image_import *alloc(struct image_store *store,
				  const struct image_import_spec *spec, int fd)
{
	struct image_import *im = xcalloc(1, sizeof(*im));

	im->store = store;
	im->spec = *spec;
	im->spec.env = xcalloc(spec->n_env + 1, sizeof(char *));
	for (size_t i = 0; i < spec->n_env; i++)
		im->spec.env[i] = xstrdup(spec->env[i]);
	im->size_max = store->size_max;
	im->uid = store->uid;
	im->pipe = fd;
	im->dir_fd = im->archive = im->disk = -EBADF;
	im->report = im->pidfd = -EBADF;
	im->parent_fd = fcntl(store->dir_fd, F_DUPFD_CLOEXEC, 3);
	snprintf(im->dir, sizeof(im->dir), ".import-%d-%" PRIu64, getpid(),
		 ++store->serial);
	atomic_store(&im->total_bytes, spec->size_bytes);
	list_init(&im->link);
	return im;
}

int image_import_start(struct image_store *store,
		       const struct image_import_spec *spec, int fd,
		       const struct image_import_ops *ops, void *arg,
		       struct image_import **ret, struct error *err)
{
	_cleanup_close_ int pipe = fd;
	struct image_import *im;

	if (check_spec(store, spec, err) < 0)
		return -1;
	im = alloc(store, spec, TAKE_FD(pipe));
	im->ops = *ops;
	im->arg = arg;
	if (open_files(im, err) < 0) {
		fd_remove_tree(im->parent_fd, im->dir, NULL);
		free_import(im);
		return err_wrap(err, "import image '%s'", spec->name);
	}
	list_add_tail(&store->imports, &im->link);
	store->n_imports++;
	arm_tick(im);
	job_start(store->jobs, &receive_ops, im);
	*ret = im;
	return 0;
}

void image_import_cancel(struct image_import *im)
{
	atomic_store(&im->cancel, true);
	/* A job looks at it by itself; mkimage has to be ended, and its end
	 * goes the usual way.
	 */
	if (im->step == STEP_MAKE && im->pid > 0)
		pidfd_send_signal(im->pidfd, SIGKILL, NULL, 0);
}

void image_import_abandon_all(struct image_store *store)
{
	list_for_each(&store->imports, im, struct image_import, link)
	{
		bool making = im->step == STEP_MAKE && im->pid > 0;

		atomic_store(&im->cancel, true);
		list_del(&im->link);
		stop_watching(im);
		kill_maker(im);
		im->store = NULL;
		/* A job that runs frees it when it is done. */
		if (making) {
			fd_remove_tree(im->parent_fd, im->dir, NULL);
			free_import(im);
		}
	}
}
