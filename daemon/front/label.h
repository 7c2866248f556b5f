/* SPDX-License-Identifier: Apache-2.0 */
/* label.h - a name that a client or guest chose, as events tell it */
#ifndef FRONT_LABEL_H
#define FRONT_LABEL_H

#include "base/str.h"

#include <protobuf-c/protobuf-c.h>

#define LABEL_MAX 256 /* of argv[0] or a path; the rest is cut off */

/* @dst: LABEL_MAX bytes. Escaped, for it may be any bytes. */
static inline void label_of(char *dst, const ProtobufCBinaryData *name)
{
	str_escape(dst, LABEL_MAX, name->data, name->len);
}

#endif /* FRONT_LABEL_H */
