/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_image_report.c - any report of an image maker that an archive took over
 *
 * Messages, each a length of two bytes and so many.
 */
#include "base/error.h"
#include "engine/image.h"
#include "engine/image/image_maker.h"
#include "engine/image/image_manifest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_progress(const char *what, uint64_t done, uint64_t total,
			void *arg)
{
	(void)done;
	(void)total;
	(void)arg;
	assert(what[0]);
}

static void on_done(const struct error *err, void *arg)
{
	(void)err;
	(void)arg;
	assert(!"it was never started");
}

/* What is kept may be written, read again and given to guests. */
static void check_image(struct image *image)
{
	struct image again = { .n_env = 0 };
	char *out;

	assert(!image->workdir[0] || image->workdir[0] == '/');
	assert(image->n_env <= IMAGE_ENV_MAX);
	for (size_t i = 0; i < image->n_env; i++)
		assert(image_env_is_valid(image->env[i]));
	strcpy(image->name, "a");
	strcpy(image->digest, "sha256:0000000000000000000000000000000000000000"
			      "000000000000000000000000");
	image->size_bytes = image->stored_bytes = 1u << 20;
	image->created_ms = 1;
	out = image_manifest_format(image);
	assert(image_manifest_parse(out, strlen(out), &again, NULL) == 0);
	assert(strcmp(again.user, image->user) == 0);
	assert(again.n_env == image->n_env);
	free(out);
	image_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct image_maker_ops ops = { on_progress, on_done };
	struct image_import_spec spec = { .name = "a" };
	struct image image = { .n_env = 0 };
	const struct image_maker_config config = { .spec = &spec,
						   .image = &image };
	struct image_maker *maker = image_maker_new(&config, &ops, NULL);
	struct error err = { 0 };

	while (size >= 2) {
		size_t n = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		if (n > size)
			n = size;
		if (image_maker_packet(maker, data, n, &err) < 0) {
			assert(err.code && err.msg[0]);
			break;
		}
		data += n;
		size -= n;
	}
	if (image.source[0] && err.code == 0)
		check_image(&image);
	image_fini(&image);
	image_maker_free(maker);
	return 0;
}
