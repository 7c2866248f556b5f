/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_config.c - any text is a configuration or an error with its place */
#include "base/error.h"
#include "engine/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct config *config;
	struct error err = { 0 };

	memcpy(text, data, size);
	text[size] = '\0';
	if (config_parse("f", text, &config, &err) == 0) {
		if ((config->pool_max && config->pool_max < config->pool_min) ||
		    config->sandboxes_max > SLOT_MAX ||
		    config->uid_base < 1000 || !config->state_dir)
			abort();
		config_free(config);
	} else if (!err.msg[0]) {
		abort();
	}
	free(text);
	return 0;
}
