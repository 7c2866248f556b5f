/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c - what Configure gives a guest, and who may ask (Hello)
 *
 * Theory of operation
 *
 * A clone wakes up as somebody else: Configure first sets what must be right
 * before any code of the user's runs again (clock, entropy, host name, network),
 * at once and on the loop. What touches the root file system (machine.c) may
 * block and goes to a thread; in a frozen guest it waits for the thaw.
 *
 * The nonce is trusted on first use: the first Configure gives it, and later
 * connections must know it.
 */
#include "identity.h"

#include "agent.h"
#include "env.h"
#include "freeze.h"
#include "loop.h"
#include "machine.h"
#include "netcfg.h"
#include "request.h"
#include "rpc.h"
#include "task.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define WARNINGS_MAX 16

/* One Configure's work at the root, and its answer. */
struct configuring {
	struct agent *agent;
	struct rpc *rpc; /* NULL: it was answered before the thaw */
	struct machine_root root;
	char *warnings[WARNINGS_MAX];
	size_t n_warnings;
};

void identity_init(struct agent *agent, const char *workdir)
{
	struct identity *id = &agent->id;

	str_copy(id->workdir, sizeof(id->workdir), workdir);
	agent->processes_max = AGENT_PROCESSES_DEFAULT;
	agent->ring_bytes = AGENT_RING_BYTES_DEFAULT;
}

void identity_fini(struct agent *agent)
{
	struct configuring *c = agent->configuring_later;

	agent->id.env = env_free(agent->id.env);
	if (c)
		machine_root_fini(&c->root);
	free(c);
	agent->configuring_later = NULL;
}

/* ---- Hello ---- */

/* In time that does not depend on where they differ. */
static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint8_t diff = 0;

	for (size_t i = 0; i < len; i++)
		diff |= a[i] ^ b[i];
	return diff == 0;
}

static int check_hello(const struct identity *id,
		       const AGENT(HelloRequest) * hello, struct error *err)
{
	if (hello->protocol_version != AGENT_PROTOCOL_VERSION)
		return err_field(err, "protocol_version",
				 "this agent speaks version %u",
				 AGENT_PROTOCOL_VERSION);
	if (hello->nonce.len < AGENT_NONCE_MIN ||
	    hello->nonce.len > AGENT_NONCE_MAX)
		return err_field(err, "nonce", "must be %u to %u bytes",
				 AGENT_NONCE_MIN, AGENT_NONCE_MAX);
	if (id->nonce_len &&
	    (hello->nonce.len != id->nonce_len ||
	     !same_bytes(hello->nonce.data, id->nonce, id->nonce_len))) {
		err_set(err, ERR_DENIED, "this guest knows another nonce");
		return err_reason(err, "PERMISSION_DENIED", "nonce");
	}
	return 0;
}

void rpc_hello(struct rpc *rpc, const uint8_t *data, size_t len)
{
	AGENT(HelloResponse) msg = SANDBOX__AGENT__V1__HELLO_RESPONSE__INIT;
	struct identity *id = &rpc_agent(rpc)->id;
	AGENT(HelloRequest) * hello;
	struct utsname un;
	struct error err;
	int r;

	hello = rpc_unpack(rpc, &sandbox__agent__v1__hello_request__descriptor,
			   data, len);
	if (!hello)
		return;
	r = check_hello(id, hello, &err);
	sandbox__agent__v1__hello_request__free_unpacked(hello, NULL);
	if (r < 0) {
		rpc_fail(rpc, &err);
		return;
	}
	uname(&un);
	msg.protocol_version = AGENT_PROTOCOL_VERSION;
	msg.agent_version = (char *)PACKAGE_VERSION;
	msg.kernel_release = un.release;
	msg.configured = id->configured;
	msg.generation = id->changes;
	msg.monotonic_ns = machine_monotonic_ns();
	rpc_open_connection(rpc);
	rpc_reply(rpc, &msg.base);
}

/* ---- Configure ---- */

static void warn(struct configuring *c, const struct error *err)
{
	if (c->n_warnings < WARNINGS_MAX)
		c->warnings[c->n_warnings++] = xstrdup(err->msg);
}

static void configuring_free(struct configuring *c)
{
	while (c->n_warnings)
		free(c->warnings[--c->n_warnings]);
	machine_root_fini(&c->root);
	free(c);
}

static void root_run(void *arg)
{
	struct configuring *c = arg;

	machine_root_apply(&c->root);
}

static void root_done(void *arg)
{
	AGENT(ConfigureResponse)
	msg = SANDBOX__AGENT__V1__CONFIGURE_RESPONSE__INIT;
	struct configuring *c = arg;

	for (size_t i = 0; i < c->root.n_failed; i++) {
		if (c->rpc)
			warn(c, &c->root.failed[i]);
		else
			agent_log("%s", c->root.failed[i].msg);
	}
	if (c->rpc) {
		msg.warnings = c->warnings;
		msg.n_warnings = c->n_warnings;
		rpc_reply(c->rpc, &msg.base);
	}
	freezer_give_root(c->agent->freezer);
	configuring_free(c);
}

static void begin_root(struct configuring *c)
{
	freezer_take_root(c->agent->freezer);
	if (task_work(c->agent->loop, root_run, root_done, c) < 0) {
		root_run(c);
		root_done(c);
	}
}

static void root_is_back(void *arg)
{
	struct agent *agent = arg;

	begin_root(TAKE_PTR(agent->configuring_later));
}

/* Frozen: what can be had without writing to the root is done now (a file that
 * was mounted over before is on our own tmpfs), the rest after the thaw.
 */
static void leave_root_for_later(struct configuring *c)
{
	AGENT(ConfigureResponse)
	msg = SANDBOX__AGENT__V1__CONFIGURE_RESPONSE__INIT;
	struct configuring *old = c->agent->configuring_later;

	if (old)
		configuring_free(old);
	machine_root_refresh(&c->root);
	msg.warnings = c->warnings;
	msg.n_warnings = c->n_warnings;
	rpc_reply(c->rpc, &msg.base);
	c->rpc = NULL;
	c->agent->configuring_later = c;
	freezer_at_thaw(c->agent->freezer, root_is_back, c->agent);
}

static void set_process_defaults(struct agent *agent,
				 struct configure_request *rq)
{
	const AGENT(ConfigureRequest) *msg = rq->msg;
	struct identity *id = &agent->id;

	env_free(id->env);
	id->env = TAKE_PTR(rq->env);
	if (!str_empty(msg->workdir))
		str_copy(id->workdir, sizeof(id->workdir), msg->workdir);
	str_copy(id->user, sizeof(id->user), msg->user);
	if (msg->nonce.len) {
		memcpy(id->nonce, msg->nonce.data, msg->nonce.len);
		id->nonce_len = msg->nonce.len;
	}
	if (!id->configured || strcmp(id->sandbox_id, msg->sandbox_id) != 0 ||
	    id->generation != msg->generation)
		id->changes++;
	str_copy(id->sandbox_id, sizeof(id->sandbox_id), msg->sandbox_id);
	id->generation = msg->generation;
	id->configured = true;
	if (!msg->limits)
		return;
	agent->processes_max = msg->limits->processes_max
				       ? msg->limits->processes_max
				       : AGENT_PROCESSES_DEFAULT;
	agent->ring_bytes = msg->limits->output_ring_bytes
				    ? msg->limits->output_ring_bytes
				    : AGENT_RING_BYTES_DEFAULT;
}

static void set_machine(struct configuring *c,
			const struct configure_request *rq)
{
	const AGENT(ConfigureRequest) *msg = rq->msg;
	struct netcfg net = {
		.address = rq->address,
		.gateway = rq->gateway,
		.mtu = msg->network ? msg->network->mtu : 0,
		.has_mac = rq->has_mac,
		.has_gateway_mac = rq->has_gateway_mac,
	};
	struct error err;

	memcpy(net.mac, rq->mac, sizeof(net.mac));
	memcpy(net.gateway_mac, rq->gateway_mac, sizeof(net.gateway_mac));
	if (msg->time &&
	    machine_set_clock(msg->time->seconds, (uint32_t)msg->time->nanos,
			      msg->time_at_ns, &err) < 0)
		warn(c, &err);
	if (msg->entropy.len &&
	    machine_add_entropy(msg->entropy.data, msg->entropy.len, &err) < 0)
		warn(c, &err);
	if (!str_empty(msg->hostname) &&
	    machine_set_hostname(msg->hostname, &err) < 0)
		warn(c, &err);
	if (netcfg_apply(&net, &err) < 0)
		warn(c, &err);
}

static void check_user(struct configuring *c)
{
	_cleanup_free_ struct user *user = xcalloc(1, sizeof(*user));
	struct error err;

	if (user_lookup(c->agent->id.user, user, &err) < 0)
		warn(c, &err);
}

static void configure(struct agent *agent, struct rpc *rpc,
		      struct configure_request *rq)
{
	struct configuring *c = xcalloc(1, sizeof(*c));

	c->agent = agent;
	c->rpc = rpc;
	if (agent->is_init)
		set_machine(c, rq);
	set_process_defaults(agent, rq);
	check_user(c);
	machine_root_prepare(&c->root, rq->msg, rq->address, agent->is_init);
	str_copy(c->root.workdir, sizeof(c->root.workdir), agent->id.workdir);
	if (agent->root_failed[0]) {
		c->root.is_init = false;
		c->root.workdir[0] = '\0';
	}
	if (freezer_is_frozen(agent->freezer))
		leave_root_for_later(c);
	else
		begin_root(c);
}

void rpc_configure(struct rpc *rpc, const uint8_t *data, size_t len)
{
	struct agent *agent = rpc_agent(rpc);
	struct configure_request rq = { 0 };
	AGENT(ConfigureRequest) * msg;
	struct error err;
	int r = 0;

	msg = rpc_unpack(rpc,
			 &sandbox__agent__v1__configure_request__descriptor,
			 data, len);
	if (!msg)
		return;
	if (freezer_root_is_taken(agent->freezer))
		r = err_set(&err, ERR_UNAVAILABLE,
			    "another Configure is under way");
	if (r == 0)
		r = request_configure(msg, &rq, &err);
	if (r == 0)
		configure(agent, rpc, &rq);
	else
		rpc_fail(rpc, &err);
	configure_request_fini(&rq);
	sandbox__agent__v1__configure_request__free_unpacked(msg, NULL);
}
