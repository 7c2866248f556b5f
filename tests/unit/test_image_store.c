/* SPDX-License-Identifier: Apache-2.0 */
/* test_image_store.c - images on disk, and imports with the real mkimage */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/image.h"
#include "engine/image/image_manifest.h"
#include "image_tar.h"

#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct rig {
	char dir[64];
	struct loop *loop;
	struct job_pool *jobs;
	struct image_store *store;
	int done;
	struct error err;
	char digest[80];
	unsigned int progress;
};

static void open_store(struct rig *rig)
{
	struct image_store_config config = {
		.state_dir = rig->dir,
		.program = "./sandboxd-mkimage",
		.size_max = 64u << 20,
	};
	struct error err = { 0 };

	if (image_store_open(&config, rig->loop, rig->jobs, &rig->store, &err))
		fail_msg("%s", err.msg);
}

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	log_open("test", LOG_LEVEL_ERR);
	strcpy(rig->dir, "/tmp/test_image.XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(job_pool_new(rig->loop, 2, &rig->jobs, NULL), 0);
	open_store(rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	image_store_free(rig->store);
	job_pool_free(rig->jobs);
	loop_free(rig->loop);
	fd_remove_tree(AT_FDCWD, rig->dir, NULL);
	free(rig);
	return 0;
}

/* Entries of images/ of whose name @hidden is the kind. */
static unsigned int entries(struct rig *rig, bool hidden)
{
	_cleanup_free_ char *path = xasprintf("%s/images", rig->dir);
	DIR *dir = opendir(path);
	struct dirent *d;
	unsigned int n = 0;

	while ((d = readdir(dir)))
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			n += (d->d_name[0] == '.') == hidden;
	closedir(dir);
	return n;
}

static void on_progress(const char *step, uint64_t done, uint64_t total,
			void *arg)
{
	(void)step;
	(void)done;
	(void)total;
	((struct rig *)arg)->progress++;
}

static void on_done(const struct image *image, const struct error *err,
		    void *arg)
{
	struct rig *rig = arg;

	rig->done++;
	if (image)
		snprintf(rig->digest, sizeof(rig->digest), "%s", image->digest);
	else
		rig->err = *err;
}

static const struct image_import_ops ops = { on_progress, on_done };

/* Until the import that was started is done. */
static void run(struct rig *rig)
{
	int before = rig->done;

	while (rig->done == before)
		assert_true(sd_event_run(loop_event(rig->loop), UINT64_MAX) >=
			    0);
}

struct feeder {
	const struct tar *tar;
	int fd;
	pthread_t thread;
};

static void *feed(void *arg)
{
	struct feeder *f = arg;

	fd_write_full(f->fd, f->tar->data, f->tar->len);
	close(f->fd);
	return NULL;
}

/* 0, or -1 with rig->err. */
static int import(struct rig *rig, const struct image_import_spec *spec,
		  const struct tar *tar)
{
	struct image_import *im;
	struct feeder f = { .tar = tar };
	int fds[2];

	rig->err = (struct error){ 0 };
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	f.fd = fds[1];
	if (image_import_start(rig->store, spec, fds[0], &ops, rig, &im,
			       &rig->err) < 0) {
		close(fds[1]);
		return -1;
	}
	pthread_create(&f.thread, NULL, feed, &f);
	run(rig);
	pthread_join(f.thread, NULL);
	return rig->err.code ? -1 : 0;
}

static void small_tar(struct tar *tar, const char *text)
{
	tar_begin(tar, 'z');
	tar_put(tar, "etc", S_IFDIR | 0755, NULL, NULL, 0);
	tar_file(tar, "etc/motd", text);
	tar_end(tar);
}

static void an_archive_becomes_an_image(void **state)
{
	char *env[] = { (char *)"A=1" };
	struct image_import_spec spec = { .name = "debian:12",
					  .user = "nobody",
					  .workdir = "/srv",
					  .env = env,
					  .n_env = 1 };
	struct rig *rig = *state;
	const struct image *image;
	struct stat st;
	struct tar tar;

	small_tar(&tar, "hello");
	assert_int_equal(import(rig, &spec, &tar), 0);
	image = image_by_name(rig->store, "debian:12");
	assert_non_null(image);
	assert_string_equal(image->source, "rootfs");
	assert_string_equal(image->user, "nobody");
	assert_string_equal(image->workdir, "/srv");
	assert_string_equal(image->env[0], "A=1");
	assert_true(image_digest_is_valid(image->digest));
	assert_int_equal(stat(image->disk, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	assert_int_equal((uint64_t)st.st_size, image->size_bytes);
	assert_true(image->stored_bytes < image->size_bytes);
	assert_int_equal(entries(rig, true), 0);
	tar_free(&tar);
}

/* Times in the superblock: of the last mount and write, of the last check, of
 * mkfs.
 */
static void assert_no_present(const char *disk)
{
	static const off_t at[] = { 0x2c, 0x30, 0x40, 0x108 };
	_cleanup_close_ int fd = open(disk, O_RDONLY | O_CLOEXEC);
	uint32_t t;

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		assert_int_equal(fd_pread_full(fd, &t, sizeof(t), 1024 + at[i]),
				 0);
		assert_in_range(le32toh(t), 0, time(NULL) - 3600);
	}
}

/* On any node, or a snapshot could not go to another. */
static void the_same_archive_is_the_same_image(void **state)
{
	struct image_import_spec spec = { .name = "a" };
	struct rig *rig = *state;
	char first[80];
	struct tar tar;

	small_tar(&tar, "hello");
	assert_int_equal(import(rig, &spec, &tar), 0);
	strcpy(first, rig->digest);
	assert_no_present(image_by_name(rig->store, "a")->disk);
	spec.replace = true;
	strcpy(spec.workdir, "/srv");
	assert_int_equal(import(rig, &spec, &tar), 0);
	assert_string_equal(rig->digest, first);
	assert_int_equal(entries(rig, false), 1);
	assert_string_equal(image_by_name(rig->store, "a")->workdir, "/srv");
	strcpy(spec.name, "b");
	assert_int_equal(import(rig, &spec, &tar), 0);
	assert_string_equal(rig->digest, first);
	assert_int_equal(entries(rig, false), 2);
	tar_free(&tar);
}

static void an_image_is_there_after_a_restart(void **state)
{
	struct image_import_spec spec = { .name = "a" };
	struct rig *rig = *state;
	struct tar tar;

	small_tar(&tar, "hello");
	assert_int_equal(import(rig, &spec, &tar), 0);
	image_store_free(rig->store);
	open_store(rig);
	assert_int_equal(image_count(rig->store), 1);
	assert_string_equal(image_by_name(rig->store, "a")->digest,
			    rig->digest);
	assert_non_null(image_by_digest(rig->store, rig->digest));
	tar_free(&tar);
}

static void a_bad_archive_leaves_nothing(void **state)
{
	struct image_import_spec spec = { .name = "bad" };
	struct rig *rig = *state;
	struct tar tar;

	tar_begin(&tar, 'n');
	tar_file(&tar, "../escape", "x");
	tar_end(&tar);
	assert_int_equal(import(rig, &spec, &tar), -1);
	assert_int_equal(rig->err.code, ERR_INVALID);
	assert_non_null(strstr(rig->err.msg, "'..' component"));
	assert_null(image_by_name(rig->store, "bad"));
	assert_int_equal(entries(rig, true) + entries(rig, false), 0);
	tar_free(&tar);
}

static void what_is_no_archive_is_refused(void **state)
{
	struct tar tar = { .data = xstrdup("this is no archive at all"),
			   .len = 25 };
	struct image_import_spec spec = { .name = "bad" };
	struct rig *rig = *state;

	assert_int_equal(import(rig, &spec, &tar), -1);
	assert_int_equal(rig->err.code, ERR_INVALID);
	assert_int_equal(entries(rig, true), 0);
	tar_free(&tar);
}

static void an_archive_over_the_limit_is_refused(void **state)
{
	struct tar tar = { .data = xcalloc(1, 65u << 20), .len = 65u << 20 };
	struct image_import_spec spec = { .name = "big" };
	struct rig *rig = *state;

	assert_int_equal(import(rig, &spec, &tar), -1);
	assert_int_equal(rig->err.code, ERR_LIMIT);
	assert_int_equal(entries(rig, true), 0);
	tar_free(&tar);
}

static void a_name_is_not_taken_twice_unless_replaced(void **state)
{
	struct image_import_spec spec = { .name = "a" };
	struct rig *rig = *state;
	struct tar one, two;
	char first[80];

	small_tar(&one, "one");
	small_tar(&two, "two");
	assert_int_equal(import(rig, &spec, &one), 0);
	strcpy(first, rig->digest);
	assert_int_equal(import(rig, &spec, &two), -1);
	assert_int_equal(rig->err.code, ERR_EXISTS);
	spec.replace = true;
	assert_int_equal(import(rig, &spec, &two), 0);
	assert_string_not_equal(rig->digest, first);
	assert_string_equal(image_by_name(rig->store, "a")->digest,
			    rig->digest);
	assert_int_equal(image_count(rig->store), 1);
	/* Sandboxes that stand on the old one find it. */
	assert_string_equal(image_by_digest(rig->store, first)->digest, first);
	assert_int_equal(access(image_by_digest(rig->store, first)->disk, R_OK),
			 0);
	tar_free(&one);
	tar_free(&two);
}

static bool is_in_use(const char *digest, void *arg)
{
	return strcmp(digest, arg) == 0;
}

static void an_image_in_use_is_not_removed(void **state)
{
	struct image_import_spec spec = { .name = "a" };
	struct rig *rig = *state;
	struct error err = { 0 };
	struct tar tar;

	small_tar(&tar, "one");
	assert_int_equal(import(rig, &spec, &tar), 0);
	assert_int_equal(
		image_remove(rig->store, "a", is_in_use, rig->digest, &err),
		-1);
	assert_int_equal(err.code, ERR_CONFLICT);
	assert_int_equal(
		image_remove(rig->store, "a", is_in_use, (void *)"", &err), 0);
	assert_int_equal(entries(rig, false) + entries(rig, true), 0);
	assert_int_equal(image_remove(rig->store, "a", NULL, NULL, &err), -1);
	assert_string_equal(err_reason_of(&err), "IMAGE_NOT_FOUND");
	tar_free(&tar);
}

static void a_replaced_image_goes_when_nothing_needs_it(void **state)
{
	struct image_import_spec spec = { .name = "a", .replace = true };
	struct rig *rig = *state;
	struct tar one, two;
	char first[80];

	small_tar(&one, "one");
	small_tar(&two, "two");
	assert_int_equal(import(rig, &spec, &one), 0);
	strcpy(first, rig->digest);
	assert_int_equal(import(rig, &spec, &two), 0);
	image_sweep(rig->store, is_in_use, first);
	assert_non_null(image_by_digest(rig->store, first));
	image_sweep(rig->store, is_in_use, (void *)"");
	assert_null(image_by_digest(rig->store, first));
	assert_int_equal(entries(rig, false), 1);
	tar_free(&one);
	tar_free(&two);
}

/* A worker that does nothing until @fd says something. */
struct blocker {
	int fd;
	_Atomic bool runs;
};

static int block(void *arg, struct error *err)
{
	struct blocker *b = arg;
	char byte;

	(void)err;
	b->runs = true;
	return read(b->fd, &byte, 1) < 0 ? -1 : 0;
}

static void unblocked(void *arg, int rc, const struct error *err)
{
	(void)arg;
	(void)rc;
	(void)err;
}

static const struct job_ops block_ops = { "block", block, unblocked };

static unsigned int queued(struct rig *rig)
{
	unsigned int n, running;

	job_pool_use(rig->jobs, &n, &running);
	return n;
}

/* The files are those that the import is about to keep, with the same digest. */
static void a_replaced_image_stays_that_is_just_imported_again(void **state)
{
	struct image_import_spec spec = { .name = "a", .replace = true };
	struct rig *rig = *state;
	struct image_import *im;
	struct blocker blockers[2];
	struct error err = { 0 };
	struct tar one, two;
	char first[80];
	int gate[2], fds[2];
	bool stays, removed;

	small_tar(&one, "one");
	small_tar(&two, "two");
	assert_int_equal(import(rig, &spec, &one), 0);
	strcpy(first, rig->digest);
	assert_int_equal(import(rig, &spec, &two), 0);
	/* One worker receives; then there is none to publish. */
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(image_import_start(rig->store, &spec, fds[0], &ops,
					    rig, &im, &err),
			 0);
	for (int i = 0; i < 2; i++) {
		blockers[i] = (struct blocker){ .fd = gate[0] };
		job_start(rig->jobs, &block_ops, &blockers[i]);
	}
	assert_int_equal(fd_write_full(fds[1], one.data, one.len), 0);
	close(fds[1]);
	while (!blockers[1].runs || !queued(rig))
		assert_true(sd_event_run(loop_event(rig->loop), 10000) >= 0);
	image_sweep(rig->store, is_in_use, (void *)"");
	stays = image_by_digest(rig->store, first);
	removed = image_remove(rig->store, "a", NULL, NULL, &err) == 0;
	assert_int_equal(write(gate[1], "xx", 2), 2);
	run(rig);
	assert_true(stays);
	assert_false(removed);
	assert_int_equal(err.code, ERR_CONFLICT);
	assert_string_equal(image_by_name(rig->store, "a")->digest, first);
	assert_int_equal(access(image_by_name(rig->store, "a")->disk, R_OK), 0);
	close(gate[0]);
	close(gate[1]);
	tar_free(&one);
	tar_free(&two);
}

static void a_cancelled_import_leaves_nothing(void **state)
{
	struct image_import_spec spec = { .name = "a" };
	struct rig *rig = *state;
	struct image_import *im;
	int fds[2];

	/* The pipe stays open: only cancelling ends it. */
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(image_import_start(rig->store, &spec, fds[0], &ops,
					    rig, &im, NULL),
			 0);
	image_import_cancel(im);
	run(rig);
	assert_int_equal(rig->done, 1);
	assert_int_equal(rig->err.code, ERR_CANCELLED);
	assert_int_equal(entries(rig, true) + entries(rig, false), 0);
	close(fds[1]);
}

static void an_import_the_daemon_left_behind_is_deleted(void **state)
{
	struct image_import_spec spec = { .name = "a" };
	struct rig *rig = *state;
	struct image_import *im;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(image_import_start(rig->store, &spec, fds[0], &ops,
					    rig, &im, NULL),
			 0);
	assert_int_equal(entries(rig, true), 1);
	image_store_free(rig->store);
	job_pool_free(rig->jobs);
	assert_int_equal(rig->done, 0);
	assert_int_equal(job_pool_new(rig->loop, 2, &rig->jobs, NULL), 0);
	open_store(rig);
	assert_int_equal(entries(rig, true), 0);
	assert_int_equal(image_count(rig->store), 0);
	close(fds[1]);
}

/* Overwrite the only image's @file. */
static void spoil(struct rig *rig, const char *file, const char *text)
{
	const struct image *image = image_at(rig->store, 0);
	_cleanup_free_ char *path = xasprintf(
		"%.*s/%s", (int)(strrchr(image->disk, '/') - image->disk),
		image->disk, file);
	FILE *f;

	assert_int_equal(unlink(path), 0);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

/* Import an image, spoil it, and open the store anew. */
static void open_spoiled(struct rig *rig, const char *file, const char *text)
{
	struct image_import_spec spec = { .name = "a" };
	struct tar tar;

	small_tar(&tar, "one");
	assert_int_equal(import(rig, &spec, &tar), 0);
	tar_free(&tar);
	spoil(rig, file, text);
	image_store_free(rig->store);
	log_open("test", (enum log_level)0);
	open_store(rig);
}

static void a_broken_manifest_is_left_out_and_kept(void **state)
{
	struct rig *rig = *state;

	open_spoiled(rig, "manifest.json",
		     "{ \"version\": 1, \"name\": \"a\" }");
	assert_int_equal(image_count(rig->store), 0);
	assert_int_equal(entries(rig, false), 1);
}

static void a_disk_of_another_size_is_left_out(void **state)
{
	struct rig *rig = *state;

	open_spoiled(rig, "root.raw", "short");
	assert_int_equal(image_count(rig->store), 0);
}

static void a_bad_name_or_directory_is_refused(void **state)
{
	static const char *const names[] = { "", "A", "-a", "a b", "a\n" };
	struct rig *rig = *state;
	struct tar tar;

	small_tar(&tar, "one");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct image_import_spec spec = { .name = "" };

		strcpy(spec.name, names[i]);
		assert_int_equal(import(rig, &spec, &tar), -1);
		assert_int_equal(rig->err.code, ERR_INVALID);
		assert_string_equal(rig->err.field, "name");
	}
	struct image_import_spec spec = { .name = "a", .workdir = "srv" };

	assert_int_equal(import(rig, &spec, &tar), -1);
	assert_string_equal(rig->err.field, "workdir");
	assert_int_equal(entries(rig, true), 0);
	tar_free(&tar);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test(an_archive_becomes_an_image),
		test(the_same_archive_is_the_same_image),
		test(an_image_is_there_after_a_restart),
		test(a_bad_archive_leaves_nothing),
		test(what_is_no_archive_is_refused),
		test(an_archive_over_the_limit_is_refused),
		test(a_name_is_not_taken_twice_unless_replaced),
		test(an_image_in_use_is_not_removed),
		test(a_replaced_image_goes_when_nothing_needs_it),
		test(a_replaced_image_stays_that_is_just_imported_again),
		test(a_cancelled_import_leaves_nothing),
		test(an_import_the_daemon_left_behind_is_deleted),
		test(a_broken_manifest_is_left_out_and_kept),
		test(a_disk_of_another_size_is_left_out),
		test(a_bad_name_or_directory_is_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
