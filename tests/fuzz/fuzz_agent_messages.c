/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_agent_messages.c - any bytes as the requests that the agent checks
 *
 * The first byte chooses which. What passes the checks must be within their
 * promises.
 */
#include "request.h"
#include "rpc.h"
#include "user.h"

#include "base/error.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void exec(const uint8_t *data, size_t len)
{
	NODE(ExecRequest) *msg =
		sandbox__node__v1__exec_request__unpack(NULL, len, data);
	struct process_request rq;
	struct error err;

	if (!msg)
		return;
	if (msg->input_case == SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START) {
		if (request_process(msg->start->process, "/work", "root", &rq,
				    &err) == 0) {
			assert(rq.argv && rq.argv[0] && rq.cwd[0] == '/');
			assert(!rq.pty || (rq.rows && rq.columns));
			process_request_fini(&rq);
		} else {
			assert(err.code == ERR_INVALID && err.field[0]);
		}
	}
	sandbox__node__v1__exec_request__free_unpacked(msg, NULL);
}

static void configure(const uint8_t *data, size_t len)
{
	AGENT(ConfigureRequest) *msg =
		sandbox__agent__v1__configure_request__unpack(NULL, len, data);
	struct configure_request rq;
	struct error err;

	if (!msg)
		return;
	if (request_configure(msg, &rq, &err) == 0) {
		assert(strlen(msg->workdir) < PATH_MAX);
		configure_request_fini(&rq);
	} else {
		assert(err.code == ERR_INVALID && err.field[0]);
	}
	sandbox__agent__v1__configure_request__free_unpacked(msg, NULL);
}

static void path(const uint8_t *data, size_t len)
{
	ProtobufCBinaryData b = { .len = len, .data = (uint8_t *)data };
	char ret[PATH_MAX];
	struct error err;

	if (request_path(&b, "/work", NULL, "path", ret, &err) == 0)
		assert(ret[0] == '/' && strlen(ret) < PATH_MAX);
}

/* A guest's passwd and group. */
static void user(const uint8_t *data, size_t len)
{
	static struct user u;
	struct error err;
	char *text = malloc(len + 1);

	if (!text)
		abort();
	memcpy(text, data, len);
	text[len] = '\0';
	if (user_parse("bob", text, text, &u, &err) == 0)
		assert(u.home[0] == '/' && u.shell[0] == '/');
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] & 3) {
	case 0:
		exec(data + 1, size - 1);
		break;
	case 1:
		configure(data + 1, size - 1);
		break;
	case 2:
		path(data + 1, size - 1);
		break;
	default:
		user(data + 1, size - 1);
	}
	return 0;
}
