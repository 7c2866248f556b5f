/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c - the node's state: opening it, keeping house, closing it
 *
 * Order matters at start: the database first (it locks the state directory),
 * then network, images and the API's sockets, so that clients queue instead of
 * being refused; then front's process, which is told of everything once it is
 * up; last recovery, whose slow part goes on in the loop.
 */
#include "engine/engine.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/api.h"
#include "engine/call.h"
#include "engine/ended.h"
#include "engine/event.h"
#include "engine/expose.h"
#include "engine/idle.h"
#include "engine/image_use.h"
#include "engine/lease.h"
#include "engine/merge.h"
#include "engine/metrics_link.h"
#include "engine/parcel.h"
#include "engine/pool.h"
#include "engine/port.h"
#include "engine/quota.h"
#include "engine/recover.h"
#include "engine/recover_guest.h"
#include "engine/sweep.h"
#include "engine/rpc.h"
#include "engine/saves.h"
#include "engine/selftest.h"
#include "engine/sandbox_ops.h"
#include "engine/task.h"
#include "engine/templates.h"
#include "engine/webhook.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUSEKEEPING_MS 5000
#define LOOK_EVERY	2  /* housekeepings between two looks at all guests */
#define TRIM_EVERY	12 /* and between two trims */
#define TERMINATED_KEEP_MS (24 * 3600 * 1000ll)

/* ---- names ---- */

void engine_path(const struct engine *e, const char *dir, const char *name,
		 char *ret, size_t size)
{
	int len = snprintf(ret, size, "%s/%s/%s", e->config->state_dir, dir,
			   name);

	if (len < 0 || (size_t)len >= size)
		abort(); /* state_dir is bounded, names are ours */
}

void engine_uuid(char ret[HV_UUID_SIZE])
{
	uint8_t b[16];
	char hex[33];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		abort();
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	str_hex(hex, b, sizeof(b));
	snprintf(ret, HV_UUID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
		 hex + 12, hex + 16, hex + 20);
}

void engine_object_id(const char *prefix, char ret[OBJECT_ID_SIZE])
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t at = strlen(prefix), end = at + 18;
	uint8_t byte;

	memcpy(ret, prefix, at);
	while (at < end) {
		if (getrandom(&byte, 1, 0) != 1)
			abort();
		if (byte < 252) /* 7 * 36: each equally likely */
			ret[at++] = set[byte % 36];
	}
	ret[at] = '\0';
}

/* ---- trash ---- */

struct trash {
	char *dir, *name;
};

static int trash_run(void *arg, struct error *err)
{
	struct trash *t = arg;
	_cleanup_close_ int fd =
		open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "open '%s'",
						     t->dir);
	return fd_remove_tree(fd, t->name, err);
}

static void trash_done(void *arg, int rc, const struct error *err)
{
	struct trash *t = arg;

	if (rc < 0 && err->code != ERR_UNAVAILABLE)
		log_warn("remove '%s/%s': %s", t->dir, t->name, err->msg);
	free(t->dir);
	free(t->name);
	free(t);
}

static const struct job_ops trash_job = { "trash", trash_run, trash_done };

void engine_trash(struct engine *e, const char *dir, const char *name)
{
	struct trash *t;
	char from[PATH_MAX], to[PATH_MAX];

	if (!name[0] || strchr(name, '/'))
		return;
	t = xcalloc(1, sizeof(*t));
	t->dir = xasprintf("%s/%s", e->config->state_dir, dir);
	t->name = xasprintf(".trash-%s-%llu", name,
			    (unsigned long long)++e->trashed);
	/* Out of the way at once: the name may be taken again. */
	snprintf(from, sizeof(from), "%s/%s", t->dir, name);
	snprintf(to, sizeof(to), "%s/%s", t->dir, t->name);
	if (rename(from, to) < 0 && errno == ENOENT) {
		trash_done(t, 0, NULL);
		return;
	}
	job_start(e->jobs, &trash_job, t);
}

static void empty_trash(struct engine *e, const char *dir)
{
	_cleanup_free_ char *path =
		xasprintf("%s/%s", e->config->state_dir, dir);
	struct dirent **names;
	int n = scandir(path, &names, NULL, NULL);

	for (int i = 0; i < n; i++) {
		if (!strncmp(names[i]->d_name, ".trash-", 7) ||
		    !strncmp(names[i]->d_name, MERGE_STAGING,
			     strlen(MERGE_STAGING)) ||
		    !strncmp(names[i]->d_name, PARCEL_STAGING,
			     strlen(PARCEL_STAGING))) {
			struct trash *t = xcalloc(1, sizeof(*t));

			t->dir = xstrdup(path);
			t->name = xstrdup(names[i]->d_name);
			job_start(e->jobs, &trash_job, t);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* ---- what the outside tells ---- */

static void on_denied(uint32_t slot, const struct net_denial *denial, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb = sandbox_by_slot(&e->sandboxes, slot);
	char port[8], count[12];

	if (!sb || e->stopping)
		return;
	snprintf(port, sizeof(port), "%u", denial->port);
	snprintf(count, sizeof(count), "%u", denial->count);
	e->metrics.denied += denial->count;
	event_emit(e, "egress.denied", sb->row.id,
		   EVENT_DATA({ "target", denial->target }, { "port", port },
			      { "protocol", denial->protocol },
			      { "address", denial->address },
			      { "rule", denial->rule }, { "count", count }));
}

void engine_guest_gone(const char *uuid, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb = sandbox_by_uuid(&e->sandboxes, uuid);

	if (e->stopping)
		return;
	if (sb)
		sandbox_look(sb, "GUEST_GONE");
	else
		pool_lost(e, uuid);
}

void engine_hv_link(bool up, void *arg)
{
	struct engine *e = arg;

	if (e->stopping || up == e->hv_up)
		return;
	e->hv_up = up;
	if (!up) {
		e->hv_lost = true;
		log_id(LOG_LEVEL_WARN, LOG_ID_LIBVIRT_LOST,
		       "libvirt does not answer; guests run on");
		event_emit(e, "node.libvirt", "",
			   EVENT_DATA({ "up", "false" }));
		return;
	}
	if (e->hv_lost)
		event_emit(e, "node.libvirt", "", EVENT_DATA({ "up", "true" }));
	e->hv_lost = false;
	log_id(LOG_LEVEL_INFO, LOG_ID_LIBVIRT_BACK, "libvirt %s answers",
	       e->hv->info.libvirt_version);
	selftest_begin(e);
	recover_guest_look_at_all(e);
	sweep_unknown(e);
	pool_refill(e);
}

/* ---- housekeeping ---- */

/* Those of a day, but no more than so many, or whoever creates and terminates
 * all day would fill the database with them. The oldest come first.
 */
void engine_forget_terminated(struct engine *e, size_t max)
{
	int64_t before = loop_wall_ms() - TERMINATED_KEEP_MS;
	struct sandboxes *s = &e->sandboxes;

	ended_retire(e);
	list_for_each(&s->ended, ended, struct ended, link) {
		struct error err;

		if (ended->terminated_ms > before && s->n_ended <= max)
			continue;
		store_begin(e->store);
		store_sandbox_remove(e->store, ended->id);
		if (store_commit(e->store, &err) < 0) {
			log_warn("sandbox '%s': %s", ended->id, err.msg);
			return;
		}
		ended_remove(s, ended);
	}
}

static void keep_house(void *arg)
{
	struct engine *e = arg;

	if (e->stopping)
		return;
	e->houses++;
	leases_expire(e);
	idle_store(e, false);
	pressure_look(e);
	ended_retire(e);
	if (e->houses % LOOK_EVERY == 0 && e->hv_up) {
		recover_guest_look_at_all(e);
		sweep_unknown(e);
		images_tidy(e);
		merge_next(e);
		pool_trim(e);
		pool_refill(e);
	}
	if (e->houses % TRIM_EVERY == 0) {
		event_trim(e);
		engine_forget_terminated(e, SANDBOX_TERMINATED_MAX);
	}
	loop_timer(e->loop, &e->housekeeping, loop_now_ms() + HOUSEKEEPING_MS,
		   keep_house, e);
}

/* ---- opening ---- */

static int make_dir(const char *path, mode_t mode, struct error *err)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make '%s'", path);
	return 0;
}

static int make_dirs(struct engine *e, struct error *err)
{
	/* QEMU, under each guest's own uid, passes through to its own. */
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = { { "", 0711 },	   { "images", 0711 },
		     { "guests", 0711 },   { "templates", 0711 },
		     { "snapshots", 0700 } };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char path[PATH_MAX];

		engine_path(e, dirs[i].name, "", path, sizeof(path));
		if (make_dir(path, dirs[i].mode, err) < 0)
			return -1;
	}
	return make_dir(e->config->run_dir, 0711, err);
}

static int read_boot_id(struct engine *e, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128,
			     &text, &len);

	if (r < 0)
		return err_sys(err, -r, "read the host's boot id");
	snprintf(e->boot_id, sizeof(e->boot_id), "%.36s", text);
	return 0;
}

static int read_meta(struct engine *e, struct error *err)
{
	char last_boot[BOOT_ID_SIZE], node[64], draining[2];

	store_meta_get(e->store, "node_id", node, sizeof(node));
	store_meta_get(e->store, "boot_id", last_boot, sizeof(last_boot));
	store_meta_get(e->store, "draining", draining, sizeof(draining));
	e->fresh = !node[0];
	e->draining = draining[0];
	e->rebooted = last_boot[0] && strcmp(last_boot, e->boot_id) != 0;
	if (e->config->node_id)
		snprintf(e->node_id, sizeof(e->node_id), "%s",
			 e->config->node_id);
	else if (node[0])
		snprintf(e->node_id, sizeof(e->node_id), "%s", node);
	else
		engine_object_id("node_", e->node_id);
	if (node[0] && strcmp(node, e->node_id) != 0)
		return err_set(err, ERR_CONFLICT,
			       "the state database is node '%s's, [node] id is "
			       "'%s'", node, e->node_id);
	store_begin(e->store);
	store_meta_set(e->store, "node_id", e->node_id);
	store_meta_set(e->store, "boot_id", e->boot_id);
	event_add(e, "node.started", "",
		  EVENT_DATA({ "nodeId", e->node_id },
			     { "version", PACKAGE_VERSION }));
	return event_commit(e, err);
}

int engine_find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid,
		     struct error *err)
{
	struct passwd *pw;

	*ret_uid = 0;
	*ret_gid = 0;
	if (geteuid() != 0 || str_empty(name))
		return 0;
	pw = getpwnam(name);
	if (!pw)
		return err_set(err, ERR_INVALID, "there is no user '%s'", name);
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return 0;
}

static int open_network(struct engine *e, struct error *err)
{
	struct config *c = e->config;
	_cleanup_free_ char *resolver =
		xasprintf("%s/sandboxd-resolver", c->libexec);
	_cleanup_free_ char *splice =
		xasprintf("%s/sandboxd-splice", c->libexec);
	uint32_t hosts = ~c->range_mask;
	struct net_config net = {
		.uplink = c->uplink,
		.pool = c->range,
		.pool_mask = c->range_mask,
		.tap_uid_base = c->uid_base,
		.slots = hosts - 2 < SLOT_MAX ? hosts - 2 : SLOT_MAX,
		.n_private_allowed = c->private_allowed.n,
		.limits = c->net_limits,
		.dns_upstreams = c->dns_upstreams.v,
		.n_dns_upstreams = c->dns_upstreams.n,
		.dns_hosts = c->dns_hosts.v,
		.n_dns_hosts = c->dns_hosts.n,
		.resolver_path = resolver,
		.splice_path = splice,
		.allow_ech = c->allow_ech,
		.state_dir = c->state_dir,
	};

	e->private_allowed =
		xcalloc(c->private_allowed.n + 1, sizeof(struct net_rule));
	for (size_t i = 0; i < c->private_allowed.n; i++)
		if (net_rule_parse(c->private_allowed.v[i],
				   &e->private_allowed[i], err) < 0)
			return -1;
	net.private_allowed = e->private_allowed;
	slots_init(&e->slots, net.slots);
	if (engine_find_user(c->resolver_user, &net.resolver_uid, &net.resolver_gid,
		      err) < 0 ||
	    engine_find_user(c->splice_user, &net.splice_uid, &net.splice_gid, err) <
		    0)
		return -1;
	return net_open(&net, e->loop, on_denied, e, &e->net, err);
}

static int open_images(struct engine *e, struct error *err)
{
	_cleanup_free_ char *program =
		xasprintf("%s/sandboxd-mkimage", e->config->libexec);
	struct image_store_config images = {
		.state_dir = e->config->state_dir,
		.program = program,
	};

	images.uid = e->helper_uid;
	images.gid = e->helper_gid;
	return image_store_open(&images, e->loop, e->jobs, &e->images, err);
}

static int open_front(struct engine *e, struct error *err)
{
	_cleanup_free_ char *program =
		xasprintf("%s/sandboxd-front", e->config->libexec);
	struct front_link_config front = { .program = program };

	front.uid = e->helper_uid;
	front.gid = e->helper_gid;
	return front_link_new(e->loop, &front, &api_front_ops, e, &e->front,
			      err);
}

static int open_metrics(struct engine *e, struct error *err)
{
	_cleanup_free_ char *program =
		xasprintf("%s/sandboxd-metrics", e->config->libexec);
	uid_t uid;
	gid_t gid;

	if (!e->config->metrics_listen)
		return 0;
	if (engine_find_user(e->config->metrics_user, &uid, &gid, err) < 0)
		return -1;
	return metrics_link_new(e, program, uid, gid, &e->metrics_link, err);
}

static int open_webhook(struct engine *e, struct error *err)
{
	return e->config->webhook_url ? webhook_new(e, &e->webhook, err) : 0;
}

static int open_store(struct engine *e, struct error *err)
{
	_cleanup_free_ char *path =
		xasprintf("%s/sandboxd.db", e->config->state_dir);
	struct quota_capacity capacity = { 0 };

	if (store_open(path, &e->store, err) < 0 || read_boot_id(e, err) < 0 ||
	    read_meta(e, err) < 0 ||
	    quota_measure(e->config->state_dir, &capacity, err) < 0)
		return -1;
	e->quota = quota_new(e->config, &capacity);
	e->ports = ports_new(e->config);
	return 0;
}

static struct engine *engine_alloc(struct loop *loop, struct job_pool *jobs,
				   struct config *config, struct hv *hv)
{
	struct engine *e = xcalloc(1, sizeof(*e));

	*e = (struct engine){ .loop = loop, .jobs = jobs, .config = config,
			      .hv = hv, .api_fd = -EBADF, .tls_fd = -EBADF,
			      .started_ms = loop_wall_ms(),
			      .read_pressure = pressure_read,
			      .agent_steady_ms = AGENT_STEADY_MS,
			      .recover_give_up_ms = RECOVER_GIVE_UP_MS };
	sandboxes_init(&e->sandboxes);
	list_init(&e->tasks);
	list_init(&e->calls);
	list_init(&e->snapshots);
	list_init(&e->templates);
	list_init(&e->clones);
	list_init(&e->leases);
	list_init(&e->drains);
	list_init(&e->forks);
	list_init(&e->clone_questions);
	list_init(&e->gatherings);
	list_init(&e->exports);
	list_init(&e->imports);
	return e;
}

int engine_new(struct loop *loop, struct job_pool *jobs, struct config *config,
	       struct hv *hv, struct engine **ret, struct error *err)
{
	struct engine *e = engine_alloc(loop, jobs, config, hv);

	if (engine_find_user(config->front_user, &e->helper_uid, &e->helper_gid,
		      err) < 0 ||
	    make_dirs(e, err) < 0 || open_store(e, err) < 0 ||
	    api_bind(e, err) < 0 || open_network(e, err) < 0 ||
	    open_images(e, err) < 0 || open_front(e, err) < 0 ||
	    open_metrics(e, err) < 0 || open_webhook(e, err) < 0 ||
	    recover_begin(e, err) < 0) {
		engine_halt(e);
		e->failed = true;
		*ret = e;
		return -1;
	}
	empty_trash(e, "guests");
	empty_trash(e, "snapshots");
	empty_trash(e, "templates");
	loop_timer(loop, &e->housekeeping, loop_now_ms() + HOUSEKEEPING_MS,
		   keep_house, e);
	*ret = e;
	return 0;
}

/* ---- closing ---- */

void engine_close(struct engine *e, void (*idle)(void *arg), void *arg)
{
	e->closing = true;
	idle_store(e, true);
	event_emit(e, "node.stopping", "",
		   EVENT_DATA({ "nodeId", e->node_id },
			      { "version", PACKAGE_VERSION }));
	e->idle = idle;
	e->idle_arg = arg;
	templates_stop_ahead(e);
	if (list_empty(&e->tasks))
		idle(arg);
}

void engine_halt(struct engine *e)
{
	e->stopping = true;
	e->closing = true;
	/* Requests that wait for it are answered here, and park. */
	e->metrics_link = metrics_link_free(e->metrics_link);
	e->webhook = webhook_free(e->webhook);
	e->front = front_link_free(e->front);
	e->images = image_store_free(e->images);
}

struct engine *engine_free(struct engine *e)
{
	if (!e)
		return NULL;
	if (!e->stopping)
		engine_halt(e);
	parcels_free(e);
	merge_free(e);
	calls_free(e);
	list_for_each(&e->tasks, t, struct task, link)
		task_free(t);
	metrics_guests_free(e);
	rpc_forks_free(e);
	recover_free(e);
	leases_void(e);
	rpc_drains_free(e);
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		sandbox_remove(sb);
	ended_free(e);
	sandboxes_fini(&e->sandboxes);
	snapshots_free(e);
	templates_free(e);
	pool_free(e);
	sd_event_source_disable_unref(e->housekeeping);
	sd_event_source_disable_unref(e->pool_timer);
	sd_event_source_disable_unref(e->drain_timer);
	e->net = e->net ? net_close(e->net, true) : NULL;
	ports_free(e->ports);
	quota_free(e->quota);
	store_close(e->store);
	metrics_fini(&e->metrics);
	free(e->private_allowed);
	fd_close(&e->api_fd);
	fd_close(&e->tls_fd);
	if (e->hv)
		e->hv->ops->free(e->hv);
	free(e);
	return NULL;
}

void engine_reloaded(struct engine *e)
{
	struct error err;

	api_setup(e);
	if (!e->config->webhook_url)
		e->webhook = webhook_free(e->webhook);
	else if (e->webhook)
		webhook_reloaded(e->webhook);
	else if (webhook_new(e, &e->webhook, &err) < 0)
		log_err("no events are posted: %s", err.msg);
	pool_trim(e);
	pool_refill(e);
}
