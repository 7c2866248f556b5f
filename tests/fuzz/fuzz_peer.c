/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_peer.c - any message that a client sends or a guest answers
 *
 * First byte: which method. Then messages, each a byte (0: the client's, else
 * the guest's), a length of two bytes, and the message.
 */
#include "base/error.h"
#include "base/loop.h"
#include "front/check.h"
#include "front/proxy.h"
#include "front/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct proxy_method *pick(unsigned int n)
{
	static const struct proxy_method *const tables[] = { exec_methods,
							     file_methods,
							     tunnel_methods };
	const struct proxy_method *all[32];
	unsigned int count = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		for (const struct proxy_method *m = tables[i]; m->name; m++)
			all[count++] = m;
	}
	return all[n % count];
}

static int from_client(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	char **id;

	if (p->asked)
		return p->method->client_streams ? p->method->more(p, m, err)
						 : -1;
	id = p->method->first(p, m, err);
	if (!id || check_sandbox_id(*id, err) < 0)
		return -1;
	assert(strlen(*id) < SANDBOX_ID_MAX);
	p->asked = true;
	return 0;
}

/* What passed must survive being packed and read again. */
static void pack_again(const ProtobufCMessageDescriptor *desc,
		       const ProtobufCMessage *m)
{
	_cleanup_wire_ ProtobufCMessage *again = NULL;
	struct error err;
	uint8_t *buf;
	size_t len;

	assert(m->n_unknown_fields == 0);
	buf = wire_pack(m, &len);
	assert(wire_unpack(desc, buf, len, &again, &err) == 0);
	free(buf);
}

static int one(struct proxy *p, bool client, const uint8_t *data, size_t len)
{
	const ProtobufCMessageDescriptor *desc =
		client ? p->method->request : p->method->response;
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	struct error err = { 0 };

	if (wire_unpack(desc, data, len, &m, &err) < 0) {
		assert(err.code == ERR_INVALID && err.msg[0]);
		return -1;
	}
	if ((client ? from_client(p, m, &err) : p->method->answer(p, m, &err)) <
	    0)
		return -1;
	pack_again(desc, m);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Activity was just told: there is no engine to tell it to. */
	struct proxy p = { .activity_ms = loop_now_ms(), .limit = 1000 };

	if (size == 0)
		return 0;
	p.method = pick(data[0]);
	data++;
	size--;
	while (size >= 3) {
		size_t len = (size_t)(data[1] << 8 | data[2]);

		if (len > size - 3)
			len = size - 3;
		if (one(&p, data[0] == 0, data + 3, len) < 0)
			break;
		data += 3 + len;
		size -= 3 + len;
	}
	return 0;
}
