/* SPDX-License-Identifier: Apache-2.0 */
/* pb.h - short names for the generated messages the engine works on */
#ifndef ENGINE_PB_H
#define ENGINE_PB_H

#include "sandbox/agent/v1/agent.pb-c.h"
#include "sandbox/ipc/v1/ipc.pb-c.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <stdlib.h>

/* A sandbox's specification is the request that made it, checked and with
 * every default filled in (spec_check.h): storing, restoring and answering then
 * need no third form.
 */
typedef Sandbox__Node__V1__CreateSandboxRequest Spec;
typedef Sandbox__Node__V1__CreateSandboxRequest__EnvEntry SpecEnv;
typedef Sandbox__Node__V1__CreateSandboxRequest__MetadataEntry SpecMetadata;
typedef Sandbox__Node__V1__EgressPolicy PbEgress;
typedef Sandbox__Node__V1__EgressRule PbRule;
typedef Sandbox__Node__V1__NetworkLimits PbLimits;
typedef Sandbox__Node__V1__Sandbox PbSandbox;
typedef Sandbox__Node__V1__Snapshot PbSnapshot;
typedef Sandbox__Node__V1__UpdateSandboxRequest PbUpdate;
typedef Google__Protobuf__Timestamp PbTime;

/* Pack into a new buffer; its length in *@ret_len. */
static inline uint8_t *pb_pack(const ProtobufCMessage *msg, size_t *ret_len)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	uint8_t *data = malloc(len ? len : 1);

	if (!data)
		abort();
	protobuf_c_message_pack(msg, data);
	*ret_len = len;
	return data;
}

static inline void pb_free(void *msg)
{
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

static inline void pb_cleanup(void *p)
{
	pb_free(*(void **)p);
}

#define _cleanup_pb_ __attribute__((cleanup(pb_cleanup)))

#endif /* ENGINE_PB_H */
