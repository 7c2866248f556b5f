/* SPDX-License-Identifier: Apache-2.0 */
/* peek.c - the name that a connection is meant for (pure) */
#include "splice/peek.h"

#define LABEL_MAX 63

static int lower(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 'a';
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	    c == '_')
		return c;
	return -1;
}

bool peek_name(const uint8_t *text, size_t len, char ret[PEEK_NAME_MAX + 1])
{
	size_t label = 0;
	bool digits = true; /* the last label has nothing else: an address */

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len == 0 || len > PEEK_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		int c = lower(text[i]);

		if (text[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
			digits = true;
			ret[i] = '.';
			continue;
		}
		if (c < 0 || ++label > LABEL_MAX)
			return false;
		digits = digits && c >= '0' && c <= '9';
		ret[i] = (char)c;
	}
	ret[len] = '\0';
	return label > 0 && !digits;
}
