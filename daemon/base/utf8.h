/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h - what bytes are text */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the valid UTF-8 sequence at @s, or 0; *@cp is what it stands for.
 */
size_t utf8_decode(const uint8_t *s, size_t len, uint32_t *cp);

#endif /* BASE_UTF8_H */
