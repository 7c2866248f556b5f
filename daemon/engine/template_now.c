/* SPDX-License-Identifier: Apache-2.0 */
/* template_now.c - which template a new sandbox starts from */
#include "engine/template_now.h"

#include "base/loop.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/pool.h"
#include "engine/spec_check.h"
#include "engine/task.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void template_identity(struct engine *e, const char *digest, uint32_t cpu,
		       uint32_t memory_mib, uint32_t disk_mib,
		       char ret[OBJECT_ID_SIZE])
{
	const struct hv_info *info = &e->hv->info;
	uint8_t hash[EVP_MAX_MD_SIZE];
	char text[768];
	int len = snprintf(text, sizeof(text),
			   "3|%s|%u|%u|%u|%d|%d|%s|%s|%s|%s",
			   digest, cpu, memory_mib, disk_mib,
			   (int)info->accelerator, info->vsock,
			   info->qemu_version, info->kernel_version,
			   info->cmdline, info->cpu_model);

	if (EVP_Digest(text, (size_t)len, hash, NULL, EVP_sha256(), NULL) != 1)
		abort();
	memcpy(ret, "tpl_", 4);
	str_hex(ret + 4, hash, 10);
}

bool template_is_foreign(const struct template *t)
{
	return !strncmp(t->row.id, TEMPLATE_FOREIGN, strlen(TEMPLATE_FOREIGN));
}

uint32_t template_disk(const struct image *image, uint32_t disk_mib)
{
	uint32_t least = disk_mib < SPEC_DISK_DEFAULT_MIB ?
				 SPEC_DISK_MIN_MIB :
				 SPEC_DISK_DEFAULT_MIB;
	uint64_t mib = (image->size_bytes + (1u << 20) - 1) >> 20;

	return mib > least ? (uint32_t)mib : least;
}

/* What the name of its image means now. */
static const struct image *image_now(struct engine *e, const struct template *t)
{
	const struct image *image =
		image_by_digest(e->images, t->row.image_digest);

	if (image && image_by_name(e->images, image->name) == image)
		return image;
	return image_by_name(e->images, t->row.image);
}

const struct image *template_now(struct engine *e, const struct template *t,
				 char ret[OBJECT_ID_SIZE])
{
	const struct image *image = image_now(e, t);

	if (!image || template_is_foreign(t))
		return NULL;
	template_identity(e, image->digest, t->row.cpu, t->row.memory_mib,
			  template_disk(image, t->row.disk_mib), ret);
	return image;
}

static bool is_of(const char *id, const char *identity)
{
	size_t n = strlen(identity);

	return !strncmp(id, identity, n) && (!id[n] || id[n] == '-');
}

struct template *template_sound(struct engine *e, const char *identity)
{
	list_for_each(&e->templates, t, struct template, link)
		if (!t->row.bad && is_of(t->row.id, identity))
			return t;
	return NULL;
}

static bool is_named(struct engine *e, const char *id)
{
	if (template_find(e, id) || template_users(e, id))
		return true;
	list_for_each(&e->tasks, t, struct task, link)
		if (!strcmp(t->guest.template_id, id))
			return true;
	return false;
}

void template_fresh_id(struct engine *e, const char *identity,
		       char ret[OBJECT_ID_SIZE])
{
	snprintf(ret, OBJECT_ID_SIZE, "%s", identity);
	for (unsigned int n = 1; is_named(e, ret); n++)
		snprintf(ret, OBJECT_ID_SIZE, "%.40s-%u", identity, n);
}

bool template_is_current(struct engine *e, const struct template *t)
{
	char id[OBJECT_ID_SIZE];

	return template_now(e, t, id) && template_sound(e, id) == t;
}

bool template_is_idle(struct engine *e, const struct template *t)
{
	return loop_wall_ms() - t->row.asked_ms >=
	       (int64_t)e->config->pool_idle_ms;
}

bool template_has_heir(struct engine *e, const struct template *t)
{
	char id[OBJECT_ID_SIZE];

	return pool_max(e) && e->config->templates &&
	       e->hv->info.clones_work && !t->building && !t->row.damaged &&
	       !template_is_idle(e, t) && template_now(e, t, id) &&
	       template_sound(e, id) != t;
}
