/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_sheet.c - what a snapshot's stream says of itself, checked */
#include "engine/snapshot/parcel_sheet.h"

#include "base/error.h"
#include "base/str.h"
#include "engine/hv.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/mem_pages.h"
#include "engine/snapshot/snapshot.h"

#include <stdio.h>
#include <string.h>

#define CPU_MAX	     1024
#define DIGEST_CHARS "a-z0-9:"

const char *parcel_part_name(const ParcelManifest *m, size_t part,
			     char buf[PARCEL_PART_NAME_MAX])
{
	static const char *const names[] = {
		[PARCEL_KIND(TEMPLATE_MEMORY)] = "template memory",
		[PARCEL_KIND(TEMPLATE_STATE)] = "template state",
		[PARCEL_KIND(TEMPLATE_DISK)] = "template disk",
		[PARCEL_KIND(MEMORY)] = "memory",
		[PARCEL_KIND(STATE)] = "state",
	};
	ParcelKind kind = m->parts[part]->kind;
	size_t first = part;

	if (kind > PARCEL_KIND(UNSPECIFIED) && kind < PARCEL_KIND(DISK))
		return names[kind];
	while (first > 0 && m->parts[first - 1]->kind == kind)
		first--;
	snprintf(buf, PARCEL_PART_NAME_MAX, "disk %zu", part - first);
	return buf;
}

bool parcel_part_is_template(const ParcelPart *part)
{
	return part->kind == PARCEL_KIND(TEMPLATE_MEMORY) ||
	       part->kind == PARCEL_KIND(TEMPLATE_STATE) ||
	       part->kind == PARCEL_KIND(TEMPLATE_DISK);
}

static int wrong(struct error *err, const char *field)
{
	return err_set(err, ERR_DATA_LOSS, "part 'manifest' has no proper '%s'",
		       field);
}

/* Printable, and room for it. */
static bool is_text(const char *s, size_t size)
{
	size_t len = strlen(s);

	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] == 0x7f)
			return false;
	return true;
}

static const char *check_platform(const ParcelPlatform *p)
{
	struct snapshot_platform *fits = NULL;

	if (!p)
		return "platform";
	if (strcmp(p->accelerator, "kvm") != 0 &&
	    strcmp(p->accelerator, "tcg") != 0)
		return "platform.accelerator";
	/* It goes into a command line. */
	if (strncmp(p->machine, "pc-q35-", 7) != 0 ||
	    !str_is_name(p->machine, sizeof(fits->machine) - 1, "a-z0-9.-"))
		return "platform.machine";
	if (!str_is_name(p->qemu_version, sizeof(fits->qemu_version) - 1,
			 "0-9."))
		return "platform.qemu_version";
	if (!is_text(p->cpu_model, sizeof(fits->cpu_model)))
		return "platform.cpu_model";
	if (!is_text(p->kernel_version, sizeof(fits->kernel_version)))
		return "platform.kernel_version";
	return NULL;
}

static bool is_disk_size(uint64_t size)
{
	return size > 0 && size % 512 == 0 && size <= DISK_SIZE_MAX;
}

static bool is_sha(const char *s)
{
	uint8_t raw[SNAPSHOT_SHA_SIZE / 2];

	return strlen(s) == SNAPSHOT_SHA_SIZE - 1 &&
	       str_unhex(raw, sizeof(raw), s) >= 0;
}

static const char *check_fields(const ParcelManifest *m)
{
	const char *field;

	if (m->cpu < 1 || m->cpu > CPU_MAX)
		return "cpu";
	if (m->memory_mib < 1 || m->memory_mib > PARCEL_MEMORY_MIB_MAX)
		return "memory_mib";
	if (!is_disk_size(m->disk_size))
		return "disk_size";
	if (!str_is_name(m->image_digest, 79, DIGEST_CHARS))
		return "image_digest";
	if (m->name[0] && !str_is_name(m->name, 64, "A-Za-z0-9._-"))
		return "name";
	if (m->nonce.len != SANDBOX_NONCE_LEN)
		return "nonce";
	if (!m->spec || !m->spec->resources ||
	    m->spec->resources->cpu != m->cpu ||
	    m->spec->resources->memory_mib != m->memory_mib)
		return "spec";
	field = check_platform(m->platform);
	if (field)
		return field;
	if (!m->template_ram[0])
		return m->template_ ? "template" : NULL;
	if (!is_sha(m->template_ram))
		return "template_ram";
	if (!m->template_ || !is_disk_size(m->template_->disk_size))
		return "template";
	return check_platform(m->template_->platform);
}

/* A table of runs, and at most all pages; runs are never more than pages. */
static uint64_t pages_max(const ParcelManifest *m)
{
	uint64_t pages = ((uint64_t)m->memory_mib << 20) / MEM_PAGE_SIZE;

	return 8 + pages * (8 + MEM_PAGE_SIZE);
}

static uint64_t part_max(const ParcelManifest *m, ParcelKind kind)
{
	switch (kind) {
	case PARCEL_KIND(TEMPLATE_MEMORY):
	case PARCEL_KIND(MEMORY):
		return pages_max(m);
	case PARCEL_KIND(TEMPLATE_STATE):
	case PARCEL_KIND(STATE):
		return SNAPSHOT_STATE_MAX;
	default:
		/* Data, tables, and what was allocated and is free. */
		return 2 * m->disk_size + (64u << 20);
	}
}

/* One of each kind and one or more disks, in order. */
static const char *check_parts(const ParcelManifest *m)
{
	ParcelKind kind = m->template_ ? PARCEL_KIND(TEMPLATE_MEMORY)
				       : PARCEL_KIND(MEMORY);
	size_t before = m->template_ ? 5 : 2;

	if (m->n_parts <= before || m->n_parts > before + PARCEL_DISKS_MAX)
		return "parts";
	for (size_t i = 0; i < m->n_parts; i++) {
		const ParcelPart *p = m->parts[i];

		if (p->kind != kind || p->size == 0 ||
		    p->size > part_max(m, kind))
			return "parts";
		if (kind < PARCEL_KIND(DISK))
			kind++;
	}
	return NULL;
}

int parcel_sheet_check(const ParcelManifest *m, bool with_parts,
		       struct error *err)
{
	const char *field = check_fields(m);

	if (!field && with_parts)
		field = check_parts(m);
	return field ? wrong(err, field) : 0;
}

void parcel_sheet_platform(const ParcelPlatform *p,
			   struct snapshot_platform *ret)
{
	*ret = (struct snapshot_platform){ .vsock = p->vsock,
					   .network = p->network };
	str_copy(ret->accelerator, sizeof(ret->accelerator), p->accelerator);
	str_copy(ret->machine, sizeof(ret->machine), p->machine);
	str_copy(ret->qemu_version, sizeof(ret->qemu_version), p->qemu_version);
	str_copy(ret->cpu_model, sizeof(ret->cpu_model), p->cpu_model);
	str_copy(ret->kernel_version, sizeof(ret->kernel_version),
		 p->kernel_version);
}
