/* SPDX-License-Identifier: Apache-2.0 */
/* fsck.c - does the state directory hold what the database says, and no more?
 *
 * Two walks: over the directories, for what no row knows; and over the rows,
 * for what they need. What a strange database does not know is told, but never
 * repaired: a node's files must not go because its database was lost.
 */
#include "engine/fsck.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image/image_manifest.h"
#include "engine/image/image_store.h"
#include "engine/snapshot/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS	    2
#define PIECE	    (1u << 20)
#define DIGESTS_MAX 4096 /* images that are compared with rows */

const char *fsck_kind_str(enum fsck_kind kind)
{
	static const char *const names[FSCK_KIND_COUNT] = {
		"stray",   "leftover", "damaged",
		"missing", "dangling", "database"
	};

	return names[kind];
}

/* ---- rows ---- */

static struct fsck_row *add_row(struct fsck *f, enum fsck_row_kind kind,
				const char *id)
{
	struct fsck_row *row;

	if ((f->n_rows & (f->n_rows - 1)) == 0)
		f->rows = xrealloc(f->rows, f->n_rows ? f->n_rows * 2 : 1,
				   sizeof(*f->rows));
	row = &f->rows[f->n_rows++];
	*row = (struct fsck_row){ .kind = kind, .slot = -1 };
	snprintf(row->id, sizeof(row->id), "%s", id);
	return row;
}

#define COPY(to, from) snprintf((to), sizeof(to), "%s", (from))

void fsck_add_sandbox(struct fsck *f, const struct sandbox_row *row)
{
	struct fsck_row *r = add_row(f, FSCK_SANDBOX, row->id);

	r->state = row->state;
	r->slot = row->slot;
	COPY(r->uuid, row->uuid);
	COPY(r->snapshot_id, row->snapshot_id);
	COPY(r->next_snapshot, row->next_snapshot);
	COPY(r->template_id, row->template_id);
	COPY(r->image_digest, row->image_digest);
}

void fsck_add_snapshot(struct fsck *f, const struct snapshot_row *row)
{
	struct fsck_row *r = add_row(f, FSCK_SNAPSHOT, row->id);

	COPY(r->template_id, row->template_id);
	COPY(r->image_digest, row->image_digest);
}

void fsck_add_template(struct fsck *f, const struct template_row *row)
{
	struct fsck_row *r = add_row(f, FSCK_TEMPLATE, row->id);

	COPY(r->image_digest, row->image_digest);
	r->bad = row->bad;
}

void fsck_add_clone(struct fsck *f, const struct pool_row *row)
{
	struct fsck_row *r = add_row(f, FSCK_CLONE, row->uuid);

	r->slot = row->slot;
	COPY(r->uuid, row->uuid);
	COPY(r->template_id, row->template_id);
}

void fsck_add_port(struct fsck *f, const struct port_row *row)
{
	add_row(f, FSCK_PORT, row->sandbox_id)->port = row->port;
}

static const struct fsck_row *find(const struct fsck *f,
				   enum fsck_row_kind kind, const char *id)
{
	for (size_t i = 0; i < f->n_rows; i++)
		if (f->rows[i].kind == kind && !strcmp(f->rows[i].id, id))
			return &f->rows[i];
	return NULL;
}

/* ---- telling ---- */

void fsck_tell(struct fsck *f, enum fsck_kind kind, const char *dir,
	       const char *name, const char *fmt, ...)
{
	struct fsck_report *r = &f->report;
	struct fsck_problem *p;
	va_list ap;

	r->unrepaired++;
	if (r->n == FSCK_PROBLEMS_MAX) {
		r->untold++;
		return;
	}
	if (!r->problems)
		r->problems = xcalloc(FSCK_PROBLEMS_MAX, sizeof(*p));
	p = &r->problems[r->n++];
	p->kind = kind;
	COPY(p->dir, dir);
	COPY(p->name, name);
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
}

void fsck_fini(struct fsck *f)
{
	free(f->rows);
	free(f->report.problems);
	f->rows = NULL;
	f->report = (struct fsck_report){ 0 };
	f->n_rows = 0;
}

/* ---- what no row knows ---- */

static bool is_known(const struct fsck *f, const char *dir, const char *name)
{
	if (!strcmp(dir, "templates"))
		return find(f, FSCK_TEMPLATE, name);
	if (!strcmp(dir, "snapshots") && find(f, FSCK_SNAPSHOT, name))
		return true;
	for (size_t i = 0; i < f->n_rows; i++) {
		const struct fsck_row *r = &f->rows[i];

		if (!strcmp(dir, "guests") ? !strcmp(r->uuid, name) :
					     !strcmp(r->next_snapshot, name))
			return true;
	}
	return false;
}

/* A walk over one directory's entries. */
static void each_entry(struct fsck *f, const char *dir,
		       void (*fn)(struct fsck *f, int fd, const char *dir,
				  const char *name, void *arg),
		       void *arg)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", f->state_dir, dir);
	struct dirent *entry;
	DIR *d = opendir(path);

	if (!d) {
		if (errno != ENOENT || !f->strange)
			fsck_tell(f, FSCK_MISSING, dir, "",
				  "cannot be read: %s", strerrordesc_np(errno));
		return;
	}
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			fn(f, dirfd(d), dir, entry->d_name, arg);
	closedir(d);
}

static void look_for_strays(struct fsck *f, int fd, const char *dir,
			    const char *name, void *arg)
{
	(void)fd;
	(void)arg;
	if (name[0] == '.') {
		if (!f->running && !f->strange)
			fsck_tell(f, FSCK_LEFTOVER, dir, name,
				  "was to be deleted");
		return;
	}
	if (!is_known(f, dir, name))
		fsck_tell(f, FSCK_STRAY, dir, name,
			  "is not in the database%s",
			  f->strange  ? ", but that is new, empty or another "
					"node's: it stays" :
			  f->damaged ? ", or of a row that cannot be read: it "
				       "stays" :
				       "");
}

/* ---- images ---- */

struct images {
	size_t n;
	char digests[DIGESTS_MAX][80];
};

static int digest_of(int fd, char ret[80], struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, PIECE);
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	ssize_t n;

	if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
		abort();
	while ((n = read(fd, buf, PIECE)) > 0)
		EVP_DigestUpdate(hash, buf, (size_t)n);
	EVP_DigestFinal_ex(hash, md, &len);
	EVP_MD_CTX_free(hash);
	if (n < 0)
		return err_sys(err, errno, "read 'root.raw'");
	memcpy(ret, "sha256:", 7);
	str_hex(ret + 7, md, len);
	return 0;
}

static int check_image(int parent, const char *dir, char digest[80],
		       struct error *err)
{
	_cleanup_(image_fini) struct image image = { .n_env = 0 };
	_cleanup_close_ int fd = openat(
		parent, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int disk = -EBADF;
	_cleanup_free_ char *text = NULL;
	char want[IMAGE_DIR_SIZE];
	size_t len;
	int r;

	digest[0] = '\0';
	if (fd < 0)
		return err_sys(err, errno, "open it");
	r = fd_read_file(fd, "manifest.json", IMAGE_MANIFEST_MAX, &text, &len);
	if (r < 0)
		return err_sys(err, -r, "read 'manifest.json'");
	if (image_manifest_parse(text, len, &image, err) < 0)
		return -1;
	image_dir_name(&image, want);
	if (strcmp(want, dir) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "its manifest is another directory's");
	disk = openat(fd, "root.raw", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (disk < 0)
		return err_sys(err, errno, "open 'root.raw'");
	if (digest_of(disk, digest, err) < 0)
		return -1;
	if (strcmp(digest, image.digest) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "'root.raw' of image '%.60s' is not what its "
			       "digest says",
			       image.name);
	return 0;
}

static void look_at_image(struct fsck *f, int fd, const char *dir,
			  const char *name, void *arg)
{
	struct images *images = arg;
	struct error err = { 0 };
	char digest[80];

	if (name[0] == '.') {
		if (!f->running && !f->strange)
			fsck_tell(f, FSCK_LEFTOVER, dir, name,
				  "is of an import that was cut off");
		return;
	}
	f->report.checked++;
	if (check_image(fd, name, digest, &err) < 0)
		fsck_tell(f, FSCK_DAMAGED, dir, name, "%.200s", err.msg);
	else if (images->n < DIGESTS_MAX)
		COPY(images->digests[images->n++], digest);
}

static bool has_image(const struct images *images, const char *digest)
{
	for (size_t i = 0; i < images->n; i++)
		if (!strcmp(images->digests[i], digest))
			return true;
	return images->n == DIGESTS_MAX;
}

/* ---- what rows need ---- */

static bool is_there(const struct fsck *f, const char *dir, const char *name)
{
	_cleanup_free_ char *path =
		xasprintf("%s/%s/%s", f->state_dir, dir, name);

	return access(path, F_OK) == 0;
}

/* As template_verify(), but it stays where it is. */
static int verify_template(const char *path, struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *m = xcalloc(1, sizeof(*m));
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "open it");
	if (snapshot_read(fd, SNAPSHOT_TEMPLATE, m, err) < 0)
		return -1;
	for (size_t i = 0; i < m->n_parts; i++)
		if (snapshot_check_part(fd, &m->parts[i], SNAPSHOT_ALL, err) <
		    0)
			return -1;
	return 0;
}

static void check_files(struct fsck *f, const struct fsck_row *row,
			const char *dir)
{
	_cleanup_free_ char *path =
		xasprintf("%s/%s/%s", f->state_dir, dir, row->id);
	struct error err = { 0 };
	int rc;

	if (!is_there(f, dir, row->id)) {
		fsck_tell(f, FSCK_MISSING, dir, row->id,
			  "is in the database, its files are gone");
		return;
	}
	f->report.checked++;
	rc = row->kind == FSCK_TEMPLATE ? verify_template(path, &err) :
					  snapshot_verify(path, THREADS, &err);
	if (rc < 0)
		fsck_tell(f, FSCK_DAMAGED, dir, row->id, "%.200s", err.msg);
}

static void check_needs(struct fsck *f, const struct fsck_row *row,
			const char *dir, const struct images *images)
{
	if (row->template_id[0] && !find(f, FSCK_TEMPLATE, row->template_id))
		fsck_tell(f, FSCK_DANGLING, dir, row->id,
			  "needs template '%s', which is not there",
			  row->template_id);
	if (row->image_digest[0] && !has_image(images, row->image_digest))
		fsck_tell(f, FSCK_DANGLING, dir, row->id,
			  "needs image %s, which is not there",
			  row->image_digest);
}

static void check_sandbox(struct fsck *f, const struct fsck_row *row,
			  const struct images *images)
{
	switch (row->state) {
	case SBX_TERMINATED:
	case SBX_TERMINATING:
		return;
	case SBX_PAUSED:
		if (!find(f, FSCK_SNAPSHOT, row->snapshot_id))
			fsck_tell(f, FSCK_DANGLING, "sandboxes", row->id,
				  "is paused, and its snapshot '%s' is not "
				  "there",
				  row->snapshot_id);
		break;
	case SBX_RUNNING:
		if (!is_there(f, "guests", row->uuid))
			fsck_tell(f, FSCK_MISSING, "guests", row->uuid,
				  "is sandbox '%s's, and gone", row->id);
		break;
	default:
		break;
	}
	check_needs(f, row, "sandboxes", images);
}

static void check_port(struct fsck *f, const struct fsck_row *row)
{
	const struct fsck_row *sb = find(f, FSCK_SANDBOX, row->id);
	char name[sizeof(row->id) + 8];

	if (sb && sb->state != SBX_TERMINATED)
		return;
	snprintf(name, sizeof(name), "%s:%u", row->id, row->port);
	fsck_tell(f, FSCK_DANGLING, "ports", name,
		  "is exposed by a sandbox that is %s",
		  sb ? "terminated" : "not there");
}

static void check_row(struct fsck *f, const struct fsck_row *row,
		      const struct images *images)
{
	switch (row->kind) {
	case FSCK_SANDBOX:
		check_sandbox(f, row, images);
		break;
	case FSCK_SNAPSHOT:
		check_files(f, row, "snapshots");
		check_needs(f, row, "snapshots", images);
		break;
	case FSCK_TEMPLATE:
		if (!row->bad)
			check_files(f, row, "templates");
		check_needs(f, row, "templates", images);
		break;
	case FSCK_CLONE:
		if (!is_there(f, "guests", row->uuid))
			fsck_tell(f, FSCK_MISSING, "guests", row->uuid,
				  "is a waiting clone's, and gone");
		break;
	case FSCK_PORT:
		check_port(f, row);
		break;
	}
}

void fsck_run(struct fsck *f)
{
	static const char *const dirs[] = { "guests", "snapshots",
					    "templates" };
	_cleanup_free_ struct images *images = xcalloc(1, sizeof(*images));

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		each_entry(f, dirs[i], look_for_strays, NULL);
	each_entry(f, "images", look_at_image, images);
	for (size_t i = 0; i < f->n_rows; i++)
		check_row(f, &f->rows[i], images);
}
