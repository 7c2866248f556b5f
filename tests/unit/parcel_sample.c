/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_sample.c - a small snapshot's stream, below its compression */
#include "parcel_sample.h"

#include "base/error.h"
#include "base/mem.h"
#include "engine/snapshot/mem_index.h"
#include "parcel/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SHA	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define RAM_MIB PARCEL_SAMPLE_MIB

struct parcel_sample parcel_sample;

#define TEXT(s) ((char *)(uintptr_t)(s))

static void add_part(ParcelKind kind, uint64_t size)
{
	ParcelPart *p = &parcel_sample.parts[parcel_sample.m.n_parts];

	sandbox__ipc__v1__parcel_part__init(p);
	p->kind = kind;
	p->size = size;
	parcel_sample.at[parcel_sample.m.n_parts++] = p;
}

ParcelManifest *parcel_sample_new(void)
{
	ParcelManifest *m = &parcel_sample.m;

	sandbox__ipc__v1__parcel_manifest__init(m);
	sandbox__ipc__v1__parcel_platform__init(&parcel_sample.platform);
	sandbox__ipc__v1__parcel_template__init(&parcel_sample.template);
	sandbox__node__v1__create_sandbox_request__init(&parcel_sample.spec);
	sandbox__node__v1__resources__init(&parcel_sample.resources);
	parcel_sample.platform.accelerator = TEXT("tcg");
	parcel_sample.platform.machine = TEXT("pc-q35-7.2");
	parcel_sample.platform.qemu_version = TEXT("7.2.22");
	parcel_sample.platform.cpu_model = TEXT("tcg-max");
	parcel_sample.platform.kernel_version = TEXT("6.1");
	parcel_sample.resources.cpu = 2;
	parcel_sample.resources.memory_mib = RAM_MIB;
	parcel_sample.spec.resources = &parcel_sample.resources;
	parcel_sample.template.disk_size = 1 << 20;
	parcel_sample.template.platform = &parcel_sample.platform;
	m->cpu = 2;
	m->memory_mib = RAM_MIB;
	m->disk_size = 1 << 20;
	m->image_digest = TEXT("sha256:abc");
	m->platform = &parcel_sample.platform;
	m->template_ram = TEXT(SHA);
	m->template_ = &parcel_sample.template;
	m->nonce = (ProtobufCBinaryData){ sizeof(parcel_sample.nonce),
					  parcel_sample.nonce };
	m->spec = &parcel_sample.spec;
	m->n_parts = 0;
	m->parts = parcel_sample.at;
	/* Two template pages; one page of memory and one that is zero. */
	add_part(PARCEL_KIND(TEMPLATE_MEMORY), 8 + 8 + 2 * MEM_PAGE_SIZE);
	add_part(PARCEL_KIND(TEMPLATE_STATE), 5);
	add_part(PARCEL_KIND(TEMPLATE_DISK), 7);
	add_part(PARCEL_KIND(MEMORY), 8 + 16 + MEM_PAGE_SIZE);
	add_part(PARCEL_KIND(STATE), 3);
	add_part(PARCEL_KIND(DISK), 4);
	add_part(PARCEL_KIND(DISK), 6);
	return m;
}

static int to_stream(const void *data, size_t len, void *arg, struct error *err)
{
	struct parcel_stream *s = arg;

	(void)err;
	s->data = xrealloc(s->data, s->len + len, 1);
	memcpy(s->data + s->len, data, len);
	s->len += len;
	return 0;
}

static void put(struct parcel_writer *w, const void *data, size_t len)
{
	struct error err;

	assert_int_equal(parcel_writer_bytes(w, data, len, &err), 0);
}

static void put_part(struct parcel_writer *w, struct parcel_stream *s, size_t i)
{
	static const uint32_t ram[] = { 1, 0, 3, 2 };
	static const uint32_t mem[] = { 2, 0, 5, 1, 9, 1 | MEM_RUN_ZERO };
	uint8_t page[2 * MEM_PAGE_SIZE];
	struct error err;

	memset(page, 0x5a, sizeof(page));
	assert_int_equal(parcel_writer_part(w, &err), 0);
	if (i == 0) {
		put(w, ram, sizeof(ram));
		put(w, page, sizeof(page));
	} else if (i == 3) {
		put(w, mem, sizeof(mem));
		put(w, page, MEM_PAGE_SIZE);
	} else {
		put(w, "1234567", (size_t)parcel_sample.parts[i].size);
	}
	assert_int_equal(parcel_writer_part_end(w, &err), 0);
	s->ends[s->n_ends++] = s->len;
}

struct parcel_stream parcel_sample_stream(const ParcelManifest *m)
{
	struct parcel_stream s = { 0 };
	struct error err;
	struct parcel_writer *w = parcel_writer_new(m, to_stream, &s, &err);

	assert_non_null(w);
	s.ends[s.n_ends++] = s.len;
	for (size_t i = 0; i < m->n_parts; i++)
		put_part(w, &s, i);
	assert_int_equal(parcel_writer_end(w, &err), 0);
	s.ends[s.n_ends++] = s.len;
	parcel_writer_free(w);
	return s;
}
