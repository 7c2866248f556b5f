/* SPDX-License-Identifier: Apache-2.0 */
/* image_maker.c - one run of sandboxd-mkimage: from an archive to a disk */
#include "engine/image/image_maker.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image.h"
#include "engine/image/image_manifest.h"
#include "engine/proc/worker.h"
#include "sandbox/ipc/v1/image.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORT_MAX (256u << 10)
/* Longer than mkimage's own limit on CPU time. */
#define MAKE_MS (3600u * 1000)

struct image_maker {
	const struct image_maker_ops *ops;
	void *arg;
	const struct image_import_spec *spec;
	struct image *image;
	struct worker *worker;
	sd_event_source *deadline;
	bool have_result;
	struct error err; /* the first that went wrong */
};

static void on_failure(struct image_maker *m,
		       const Sandbox__Ipc__V1__ImageFailure *f)
{
	enum err_code code =
		f->kind == SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_INVALID ?
			ERR_INVALID :
		f->kind == SANDBOX__IPC__V1__IMAGE_FAILURE__KIND__KIND_LIMIT ?
			ERR_LIMIT :
			ERR_INTERNAL;
	char text[ERR_MSG_MAX];

	if (m->err.code)
		return;
	str_escape(text, sizeof(text), f->message, strlen(f->message));
	err_set(&m->err, code, "%s", text);
}

static int take_result(struct image_maker *m,
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
	const struct image_import_spec *spec = m->spec;
	struct image *image = m->image;
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
	m->have_result = true;
	return 0;
}

static void on_progress(struct image_maker *m,
			const Sandbox__Ipc__V1__ImageProgress *p)
{
	bool writing =
		p->step == SANDBOX__IPC__V1__IMAGE_PROGRESS__STEP__STEP_WRITING;

	m->ops->progress(writing ? "writing the file system" :
				   "reading the archive",
			 p->done, p->total, m->arg);
}

int image_maker_packet(struct image_maker *m, const uint8_t *data, size_t len,
		       struct error *err)
{
	Sandbox__Ipc__V1__ImageReport *r =
		sandbox__ipc__v1__image_report__unpack(NULL, len, data);
	int rc = 0;

	if (!r || m->have_result)
		rc = err_set(err, ERR_INTERNAL, "mkimage broke the rules");
	else if (r->body_case == SANDBOX__IPC__V1__IMAGE_REPORT__BODY_PROGRESS)
		on_progress(m, r->progress);
	else if (r->body_case == SANDBOX__IPC__V1__IMAGE_REPORT__BODY_FAILURE)
		on_failure(m, r->failure);
	else if (r->body_case == SANDBOX__IPC__V1__IMAGE_REPORT__BODY_RESULT)
		rc = take_result(m, r->result, err);
	if (r)
		sandbox__ipc__v1__image_report__free_unpacked(r, NULL);
	return rc;
}

static int on_packet(const uint8_t *data, size_t len, void *arg,
		     struct error *err)
{
	return image_maker_packet(arg, data, len, err);
}

static void how_it_ended(struct image_maker *m, const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		err_set(&m->err, ERR_INTERNAL, "mkimage exited with %d",
			info->si_status);
	else if (info->si_status == SIGXCPU || info->si_status == SIGABRT ||
		 info->si_status == SIGKILL)
		err_set(&m->err, ERR_LIMIT,
			"the archive needs more time or memory than is "
			"allowed");
	else
		err_set(&m->err, ERR_INTERNAL,
			"mkimage was killed by signal %d", info->si_status);
	log_warn("image '%s': %s (signal or status %d)", m->spec->name,
		 m->err.msg, info->si_status);
}

static void on_ended(const siginfo_t *info, const struct error *broke,
		     void *arg)
{
	struct image_maker *m = arg;
	struct error err;

	m->deadline = sd_event_source_disable_unref(m->deadline);
	if (broke && !m->err.code)
		m->err = *broke;
	if (!m->err.code &&
	    (info->si_code != CLD_EXITED || info->si_status || !m->have_result))
		how_it_ended(m, info);
	/* The owner may free it in there. */
	err = m->err;
	m->ops->done(err.code ? &err : NULL, m->arg);
}

static const struct worker_ops worker_ops = { .packet = on_packet,
					      .ended = on_ended };

static void on_deadline(void *arg)
{
	struct image_maker *m = arg;

	if (!m->err.code)
		err_set(&m->err, ERR_LIMIT,
			"the archive needs more time than is allowed");
	worker_end(m->worker);
}

static int start(struct image_maker *m, struct loop *loop,
		 const struct image_maker_config *c, struct error *err)
{
	int fds[2] = { c->archive, c->disk };
	char size[24], uid[16], gid[16];
	const char *const argv[] = { c->program, uid, gid, size, NULL };
	struct worker_config worker = { .name = "mkimage",
					.argv = argv,
					.fds = fds,
					.n_fds = 2,
					.packet_max = REPORT_MAX };

	/* mkimage's mke2fs opens it by its path in /proc. */
	if (c->uid && fchown(c->disk, c->uid, c->gid) < 0)
		return err_sys(err, errno, "give the disk to mkimage");
	snprintf(size, sizeof(size), "%" PRIu64, c->size_max);
	snprintf(uid, sizeof(uid), "%u", c->uid);
	snprintf(gid, sizeof(gid), "%u", c->gid);
	return worker_start(loop, &worker, &worker_ops, m, &m->worker, err);
}

struct image_maker *image_maker_new(const struct image_maker_config *config,
				    const struct image_maker_ops *ops,
				    void *arg)
{
	struct image_maker *m = xcalloc(1, sizeof(*m));

	*m = (struct image_maker){ .ops = ops,
				   .arg = arg,
				   .spec = config->spec,
				   .image = config->image };
	return m;
}

int image_maker_start(struct loop *loop,
		      const struct image_maker_config *config,
		      const struct image_maker_ops *ops, void *arg,
		      struct image_maker **ret, struct error *err)
{
	struct image_maker *m = image_maker_new(config, ops, arg);

	if (start(m, loop, config, err) < 0) {
		image_maker_free(m);
		return -1;
	}
	loop_timer(loop, &m->deadline, loop_now_ms() + MAKE_MS, on_deadline, m);
	*ret = m;
	return 0;
}

void image_maker_end(struct image_maker *maker)
{
	if (!maker->err.code)
		err_set(&maker->err, ERR_CANCELLED, "it was ended");
	worker_end(maker->worker);
}

struct image_maker *image_maker_free(struct image_maker *maker)
{
	if (!maker)
		return NULL;
	sd_event_source_disable_unref(maker->deadline);
	worker_free(maker->worker);
	free(maker);
	return NULL;
}
