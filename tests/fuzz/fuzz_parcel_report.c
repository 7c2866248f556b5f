/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_parcel_report.c - any report of a parcel that a stream took over
 *
 * First byte: odd when it packs. Then messages, each a length of two bytes and
 * so many.
 */
#include "base/error.h"
#include "engine/snapshot/parcel_proc.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What an import does with it before anything else. */
static void on_manifest(const ParcelManifest *m, void *arg)
{
	struct snapshot_platform platform;
	char name[PARCEL_PART_NAME_MAX];
	struct error err = { 0 };
	size_t *manifests = arg;

	assert(m && ++*manifests == 1);
	if (parcel_sheet_check(m, true, &err) < 0) {
		assert(err.code && err.msg[0]);
		return;
	}
	assert(m->n_parts <= PARCEL_PARTS_MAX);
	for (size_t i = 0; i < m->n_parts; i++)
		assert(parcel_part_name(m, i, name)[0]);
	parcel_sheet_platform(m->platform, &platform);
}

static void on_ended(const struct error *err, void *arg)
{
	(void)err;
	(void)arg;
	assert(!"it was never started");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct parcel_proc_ops ops = { on_manifest, on_ended };
	struct error err = { 0 };
	struct parcel_proc *proc;
	size_t manifests = 0;

	if (size == 0)
		return 0;
	proc = parcel_proc_new(data[0] & 1, &ops, &manifests);
	data++;
	size--;
	while (size >= 2) {
		size_t n = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		if (n > size)
			n = size;
		if (parcel_proc_packet(proc, data, n, &err) < 0) {
			assert(err.code && err.msg[0]);
			break;
		}
		data += n;
		size -= n;
	}
	parcel_proc_free(proc);
	return 0;
}
