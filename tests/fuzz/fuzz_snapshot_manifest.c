/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_snapshot_manifest.c - a manifest with any content, checksum right or not
 */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/snapshot/snapshot_manifest.h"

#include <assert.h>
#include <openssl/sha.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nobody finds a checksum by chance: put the right one behind it. */
static char *with_checksum(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *line = xcalloc(1, size + 2);
	uint8_t sha[SHA256_DIGEST_LENGTH];
	char hex[2 * sizeof(sha) + 1];

	memcpy(line, data, size);
	for (size_t i = 0; i < size; i++) {
		if (line[i] == '\n' || line[i] == '\0')
			line[i] = ' ';
	}
	line[size] = '\n';
	SHA256((uint8_t *)line, size + 1, sha);
	str_hex(hex, sha, sizeof(sha));
	return xasprintf("%s{\"sha256\":\"%s\"}\n", line, hex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct snapshot_manifest m, again;
	_cleanup_free_ char *text = with_checksum(data, size);
	_cleanup_free_ char *back = NULL;
	size_t len;

	snapshot_manifest_parse((const char *)data, size, &m, NULL);
	if (snapshot_manifest_parse(text, strlen(text), &m, NULL) < 0)
		return 0;
	assert(m.n_parts <= SNAPSHOT_PARTS_MAX);
	for (size_t i = 0; i < m.n_parts; i++)
		assert(!strchr(m.parts[i].name, '/'));
	/* What was read can be written and read again, the same. */
	back = snapshot_manifest_format(&m, &len);
	if (len > SNAPSHOT_MANIFEST_MAX)
		return 0;
	assert(snapshot_manifest_parse(back, len, &again, NULL) == 0);
	assert(again.n_parts == m.n_parts && again.cpu == m.cpu);
	return 0;
}
