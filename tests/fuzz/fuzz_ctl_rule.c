/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_ctl_rule.c - a rule that is read is written so that it reads the same
 *
 * The first byte chooses: a rule, or the text and names that a guest gives.
 */
#include "ctl/copy_name.h"
#include "ctl/json.h"
#include "ctl/rule.h"
#include "ctl/text.h"

#include "base/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rule(const char *text)
{
	NODE(EgressRule) *rule = NULL, *again = NULL;
	struct error err = { 0 };
	char *a, *b;

	if (rule_parse(text, &rule, &err) < 0) {
		assert(err.code == ERR_INVALID && *err.msg);
		return;
	}
	a = rule_format(rule);
	assert(rule_parse(a, &again, &err) == 0);
	b = rule_format(again);
	assert(strcmp(a, b) == 0);
	assert(protobuf_c_message_get_packed_size(&rule->base) ==
	       protobuf_c_message_get_packed_size(&again->base));
	free(a);
	free(b);
	rule_free(rule);
	rule_free(again);
}

static void check_text(const char *text, size_t size)
{
	char *safe = text_safe(text, size);
	char *base = copy_base(text);
	char *dir = copy_dir(text);
	const char *path = NULL;
	char *id = copy_split(text, &path);
	FILE *out = fopen("/dev/null", "w");

	for (const char *p = safe; *p; p++)
		assert((unsigned char)*p >= 0x20 && *p != 0x7f);
	assert(!base || copy_name_ok(base, strlen(base)));
	assert(*dir);
	assert(!id || !strchr(id, '/'));
	json_string(out, text);
	fclose(out);
	free(safe);
	free(base);
	free(dir);
	free(id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0)
		return 0;
	text = calloc(size, 1);
	memcpy(text, data + 1, size - 1);
	if (data[0] & 1)
		check_rule(text);
	else
		check_text(text, size - 1);
	free(text);
	return 0;
}
