/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_image_manifest.c - JSON documents of archives and of the store; the
 * first byte says which
 */
#include "base/error.h"
#include "base/mem.h"
#include "engine/image/image_manifest.h"
#include "image/oci.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_store(const char *text, size_t len)
{
	struct image image = { .n_env = 0 }, again = { .n_env = 0 };
	char *out;

	if (image_manifest_parse(text, len, &image, NULL) < 0)
		return;
	assert(image_name_is_valid(image.name));
	out = image_manifest_format(&image);
	assert(image_manifest_parse(out, strlen(out), &again, NULL) == 0);
	assert(strcmp(again.digest, image.digest) == 0);
	assert(again.n_env == image.n_env);
	free(out);
	image_fini(&image);
	image_fini(&again);
}

static void check_config(const char *text, size_t len)
{
	struct oci_config config;

	if (oci_parse_config(text, len, &config, NULL, NULL) < 0)
		return;
	for (size_t i = 0; i < config.n_env; i++)
		assert(oci_env_is_valid(config.env[i]) &&
		       image_env_is_valid(config.env[i]));
	oci_config_fini(&config);
}

static void check_manifest(const char *text, size_t len, int docker)
{
	struct oci_manifest m;

	if ((docker ? oci_parse_docker : oci_parse_manifest)(text, len, &m,
							     NULL) < 0)
		return;
	assert(m.n_layers <= OCI_LAYERS_MAX && m.config.path[0]);
	oci_manifest_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_blob blob;
	char *text;

	if (size < 1)
		return 0;
	text = xcalloc(1, size);
	memcpy(text, data + 1, size - 1);
	switch (data[0] % 5) {
	case 0:
		check_store(text, size - 1);
		break;
	case 1:
		check_config(text, size - 1);
		break;
	case 2:
		check_manifest(text, size - 1, 0);
		break;
	case 3:
		check_manifest(text, size - 1, 1);
		break;
	case 4:
		if (oci_parse_index(text, size - 1, &blob, NULL) == 0)
			assert(strncmp(blob.path, "blobs/sha256/", 13) == 0);
		break;
	}
	free(text);
	return 0;
}
