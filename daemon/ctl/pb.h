/* SPDX-License-Identifier: Apache-2.0 */
/* pb.h - short names for what protoc-c makes of node.proto */
#ifndef CTL_PB_H
#define CTL_PB_H

#include "google/protobuf/timestamp.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "sandbox/node/v1/node.pb-c.h"

/* NODE(Sandbox) is the struct; NODE_INIT(SANDBOX) its initialiser;
 * NODE_ENUM(SANDBOX_STATE, PAUSED) a value.
 */
#define NODE(name)	Sandbox__Node__V1__##name
#define NODE_INIT(name) SANDBOX__NODE__V1__##name##__INIT
#define NODE_ENUM(e, v) SANDBOX__NODE__V1__##e##__##e##_##v
#define NODE_CASE(m, v) SANDBOX__NODE__V1__##m##_##v
#define UINT32_VALUE(x)                                                        \
	{                                                                      \
		PROTOBUF_C_MESSAGE_INIT(                                       \
			&google__protobuf__uint32_value__descriptor),          \
			(x)                                                    \
	}

static inline ProtobufCBinaryData pb_bytes(const char *s)
{
	ProtobufCBinaryData b = { 0, (uint8_t *)(uintptr_t)s };

	while (s && s[b.len])
		b.len++;
	return b;
}

#endif /* CTL_PB_H */
