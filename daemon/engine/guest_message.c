/* SPDX-License-Identifier: Apache-2.0 */
/* guest_message.c - what front and a guest's agent are told of a sandbox */
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/guest.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

typedef Sandbox__Agent__V1__ConfigureRequest PbConfigure;
typedef Sandbox__Agent__V1__ConfigureRequest__EnvEntry PbEnv;

#define ENTROPY_LEN 64

/* A message and all that it points to. */
struct attach {
	Sandbox__Ipc__V1__AttachAgent msg;
	PbConfigure configure;
	Sandbox__Agent__V1__NetworkConfig network;
	PbTime time;
	PbEnv *env;
	PbEnv **env_at;
	char address[INET_ADDRSTRLEN], hostname[64];
	char *dns[1];
	uint8_t entropy[ENTROPY_LEN];
};

static void fill_network(struct attach *a, const struct slot *slot)
{
	struct in_addr in = { .s_addr = htonl(slot->address) };

	sandbox__agent__v1__network_config__init(&a->network);
	inet_ntop(AF_INET, &in, a->address, sizeof(a->address));
	a->dns[0] = (char *)(uintptr_t)NET_GATEWAY;
	a->network.address = a->address;
	a->network.gateway = (char *)(uintptr_t)NET_GATEWAY;
	a->network.n_dns_servers = 1;
	a->network.dns_servers = a->dns;
	a->network.mtu = NET_MTU;
	a->network.mac = (char *)(uintptr_t)HV_GUEST_MAC;
	a->network.gateway_mac = (char *)(uintptr_t)NET_GATEWAY_MAC;
	a->configure.network = &a->network;
}

static void fill_env(struct attach *a, const Spec *spec)
{
	a->env = xcalloc(spec->n_env + 1, sizeof(*a->env));
	a->env_at = xcalloc(spec->n_env + 1, sizeof(PbEnv *));
	for (size_t i = 0; i < spec->n_env; i++) {
		sandbox__agent__v1__configure_request__env_entry__init(
			&a->env[i]);
		a->env[i].key = spec->env[i]->key;
		a->env[i].value = spec->env[i]->value;
		a->env_at[i] = &a->env[i];
	}
	a->configure.n_env = spec->n_env;
	a->configure.env = a->env_at;
}

static void fill_configure(struct attach *a, struct sandbox *sb,
			   const struct guest_plan *plan)
{
	const struct image *image =
		image_by_digest(sb->engine->images, sb->row.image_digest);
	PbConfigure *c = &a->configure;
	int64_t now = loop_wall_ms();

	sandbox__agent__v1__configure_request__init(c);
	/* A host name has no underscores. */
	snprintf(a->hostname, sizeof(a->hostname), "%s", sb->row.id);
	for (char *p = a->hostname; *p; p++)
		if (*p == '_')
			*p = '-';
	c->sandbox_id = sb->row.id;
	c->generation = plan->generation;
	c->hostname = a->hostname;
	c->workdir = sb->row.spec->workdir;
	c->user = (char *)(uintptr_t)(image ? image->user : "");
	google__protobuf__timestamp__init(&a->time);
	a->time.seconds = now / 1000;
	a->time.nanos = (int32_t)(now % 1000) * 1000000;
	c->time = &a->time;
	if (getrandom(a->entropy, sizeof(a->entropy), 0) != ENTROPY_LEN)
		abort();
	c->entropy = (ProtobufCBinaryData){ ENTROPY_LEN, a->entropy };
	c->grow_root = true;
	c->machine_id = sb->row.machine_id;
	c->nonce = (ProtobufCBinaryData){
		sizeof(plan->new_nonce), (uint8_t *)(uintptr_t)plan->new_nonce
	};
	fill_network(a, &plan->spec.slot);
	fill_env(a, sb->row.spec);
	a->msg.configure = c;
}

uint8_t *guest_attach_message(struct engine *e, struct sandbox *sb,
			      const struct guest_plan *plan, bool configure,
			      uint32_t deadline_ms, size_t *ret_len)
{
	struct attach *a = xcalloc(1, sizeof(*a));
	uint8_t *packed;

	sandbox__ipc__v1__attach_agent__init(&a->msg);
	a->msg.sandbox_id = (char *)(uintptr_t)plan->key;
	a->msg.generation = plan->generation;
	a->msg.serial = !e->hv->info.vsock;
	a->msg.nonce = (ProtobufCBinaryData){
		sizeof(plan->nonce), (uint8_t *)(uintptr_t)plan->nonce
	};
	a->msg.deadline_ms = deadline_ms;
	if (configure && sb)
		fill_configure(a, sb, plan);
	packed = pb_pack(&a->msg.base, ret_len);
	explicit_bzero(a->entropy, sizeof(a->entropy));
	free(a->env);
	free(a->env_at);
	free(a);
	return packed;
}
