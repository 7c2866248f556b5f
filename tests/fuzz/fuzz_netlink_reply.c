/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_netlink_reply.c - any bytes on the netfilter socket */
#include "engine/net/net_watch.h"
#include "engine/net/nft_reply.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_elem(const struct nft_got_elem *e, void *arg)
{
	(void)arg;
	assert(e->key_len > 0 && e->key_len <= sizeof(e->key));
	assert(strlen(e->comment) < sizeof(e->comment));
}

static void on_message(uint16_t type, const uint8_t *attrs, size_t len,
		       void *arg)
{
	struct nft_attr a[16];
	char text[16];

	(void)type;
	nft_reply_elems(attrs, len, on_elem, arg);
	if (!nft_attrs(attrs, len, a, 16))
		return;
	for (size_t i = 0; i < 16; i++) {
		assert(!a[i].data || (a[i].data >= attrs &&
				      a[i].data + a[i].len <= attrs + len));
		nft_attr_str(&a[i], text, sizeof(text));
		assert(strlen(text) < sizeof(text));
		(void)nft_attr_u64(&a[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nft_result result = { 0 };

	net_watch_foreign(data, size, 1);
	nft_reply_parse(data, size, &result, on_message, NULL);
	assert(strlen(result.text) < sizeof(result.text));
	assert(result.errnum >= 0);
	return 0;
}
