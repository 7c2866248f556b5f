/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_grpc_status.c - any header fields that a peer may end a call with */
#include "grpc_internal.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "grpc-message", "grpc-timeout",
					     "grpc-status-details-bin",
					     "grpc-status" };
	struct grpc_status st = { 0 }, again = { 0 };
	struct grpc_status_fields buf;
	struct grpc_head head;
	nghttp2_nv nv[3];
	const char *name;
	size_t n;

	if (!size)
		return 0;
	name = names[data[0] % 4];
	grpc_head_init(&head);
	grpc_head_field(&head, &st, (const uint8_t *)name, strlen(name),
			data + 1, size - 1);
	/* What was understood can be said again, and is understood the same. */
	n = grpc_status_nv(nv, 0, &buf, &st);
	for (size_t i = 0; i < n; i++)
		grpc_head_field(&head, &again, nv[i].name, nv[i].namelen,
				nv[i].value, nv[i].valuelen);
	assert(again.code == st.code);
	assert(!strcmp(again.message, st.message));
	if (st.reason[0]) {
		assert(!strcmp(again.reason, st.reason));
		assert(!strcmp(again.field, st.field));
	}
	assert(again.retry_ms == st.retry_ms);
	return 0;
}
