/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - what the node asks, checked and in our own terms (pure) */
#include "request.h"

#include "agent.h"
#include "env.h"
#include "rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTNAME_MAX_LEN 64u
#define DNS_SERVERS_MAX	 8u
#define MTU_MIN		 576u
#define MTU_MAX		 65535u
#define ENTROPY_MIN	 32u
#define ENTROPY_MAX	 256u

static char **strings_free(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
	return NULL;
}

void process_request_fini(struct process_request *r)
{
	r->argv = strings_free(r->argv);
	r->env = env_free(r->env);
}

/* A C string of bytes that have no NUL; NULL if they have. */
static char *to_string(const ProtobufCBinaryData *b)
{
	char *s;

	if (b->len && memchr(b->data, '\0', b->len))
		return NULL;
	s = xcalloc(1, b->len + 1);
	if (b->len)
		memcpy(s, b->data, b->len);
	return s;
}

static int take_argv(const NODE(ProcessSpec) * spec,
		     struct process_request *ret, struct error *err)
{
	size_t bytes = 0;

	if (spec->n_argv == 0)
		return err_field(err, "process.argv",
				 "argv or command must say what to run");
	if (spec->n_argv > REQUEST_ARGV_MAX)
		return err_field(err, "process.argv", "more than %u arguments",
				 REQUEST_ARGV_MAX);
	ret->argv = xcalloc(spec->n_argv + 1, sizeof(char *));
	for (size_t i = 0; i < spec->n_argv; i++) {
		bytes += spec->argv[i].len + 1;
		if (bytes > REQUEST_ARGV_BYTES_MAX)
			return err_field(err, "process.argv",
					 "more than %u bytes",
					 REQUEST_ARGV_BYTES_MAX);
		ret->argv[i] = to_string(&spec->argv[i]);
		if (!ret->argv[i])
			return err_field(err, "process.argv",
					 "argument %zu has a NUL byte", i);
	}
	if (!ret->argv[0][0])
		return err_field(err, "process.argv", "argv[0] is empty");
	return 0;
}

static int take_command(const NODE(ProcessSpec) * spec,
			struct process_request *ret, struct error *err)
{
	if (spec->n_argv)
		return err_field(err, "process.command",
				 "argv and command exclude each other");
	if (spec->command.len > REQUEST_ARGV_BYTES_MAX)
		return err_field(err, "process.command", "longer than %u bytes",
				 REQUEST_ARGV_BYTES_MAX);
	ret->argv = xcalloc(4, sizeof(char *));
	ret->argv[0] = xstrdup("/bin/sh");
	ret->argv[1] = xstrdup("-c");
	ret->argv[2] = to_string(&spec->command);
	ret->is_command = true;
	if (!ret->argv[2])
		return err_field(err, "process.command", "has a NUL byte");
	return 0;
}

static void spec_pair(const void *arg, size_t i, const char **name,
		      const char **value)
{
	const NODE(ProcessSpec) *spec = arg;

	*name = spec->env[i]->key;
	*value = spec->env[i]->value;
}

static int take_process(const NODE(ProcessSpec) * spec, const char *workdir,
			const char *user, struct process_request *ret,
			struct error *err)
{
	int r;

	r = spec->command.len ? take_command(spec, ret, err)
			      : take_argv(spec, ret, err);
	if (r < 0 || request_path(&spec->cwd, workdir, workdir, "process.cwd",
				  ret->cwd, err) < 0)
		return -1;
	if (env_from_pairs(&ret->env, "process.env", spec->n_env, spec_pair,
			   spec, err) < 0)
		return -1;
	if (str_copy(ret->user, sizeof(ret->user),
		     str_empty(spec->user) ? user : spec->user) < 0)
		return err_field(err, "process.user", "longer than %d bytes",
				 USER_NAME_MAX - 1);
	if (spec->pty) {
		if (request_pty_size(spec->pty, "process.pty", err) < 0)
			return -1;
		ret->pty = true;
		ret->rows = (uint16_t)spec->pty->rows;
		ret->columns = (uint16_t)spec->pty->columns;
	}
	ret->timeout_ms = spec->timeout_ms;
	ret->wants_stdin = spec->stdin;
	ret->background = spec->background;
	return 0;
}

int request_process(const NODE(ProcessSpec) * spec, const char *workdir,
		    const char *user, struct process_request *ret,
		    struct error *err)
{
	struct process_request r = { 0 };

	if (!spec)
		return err_field(err, "process", "is missing");
	if (take_process(spec, workdir, user, &r, err) < 0) {
		process_request_fini(&r);
		return -1;
	}
	*ret = r;
	return 0;
}

int request_signal(uint32_t signal, struct error *err)
{
	if (signal < 1 || signal > REQUEST_SIGNAL_MAX)
		return err_field(err, "signal", "must be 1 to %u",
				 REQUEST_SIGNAL_MAX);
	return 0;
}

int request_pty_size(const NODE(PtySize) * size, const char *field,
		     struct error *err)
{
	if (size->rows < 1 || size->rows > REQUEST_PTY_MAX ||
	    size->columns < 1 || size->columns > REQUEST_PTY_MAX)
		return err_field(err, field, "rows and columns must be 1 to %u",
				 REQUEST_PTY_MAX);
	return 0;
}

int request_path(const ProtobufCBinaryData *bytes, const char *workdir,
		 const char *empty, const char *field, char ret[PATH_MAX],
		 struct error *err)
{
	size_t at = 0;

	if (bytes->len == 0) {
		if (!empty)
			return err_field(err, field, "is missing");
		str_copy(ret, PATH_MAX, empty);
		return 0;
	}
	if (memchr(bytes->data, '\0', bytes->len))
		return err_field(err, field, "has a NUL byte");
	if (bytes->data[0] != '/') {
		at = strlen(workdir);
		memcpy(ret, workdir, at);
		if (at && ret[at - 1] != '/')
			ret[at++] = '/';
	}
	if (at + bytes->len >= PATH_MAX)
		return err_field(err, field, "longer than %d bytes",
				 PATH_MAX - 1);
	memcpy(ret + at, bytes->data, bytes->len);
	ret[at + bytes->len] = '\0';
	return 0;
}

/* ---- Configure ---- */

void configure_request_fini(struct configure_request *r)
{
	r->env = env_free(r->env);
}

static void configure_pair(const void *arg, size_t i, const char **name,
			   const char **value)
{
	const AGENT(ConfigureRequest) *msg = arg;

	*name = msg->env[i]->key;
	*value = msg->env[i]->value;
}

static int take_mac(const char *s, const char *field, uint8_t ret[6], bool *has,
		    struct error *err)
{
	unsigned int b[6];
	int end = 0;

	*has = !str_empty(s);
	if (!*has)
		return 0;
	if (strlen(s) != 17 ||
	    sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3],
		   &b[4], &b[5], &end) != 6 ||
	    end != 17)
		return err_field(err, field, "is no MAC address");
	for (int i = 0; i < 6; i++)
		ret[i] = (uint8_t)b[i];
	return 0;
}

static int take_address(const char *s, const char *field, uint32_t *ret,
			struct error *err)
{
	struct in_addr a = { 0 };

	if (!str_empty(s) && inet_pton(AF_INET, s, &a) != 1)
		return err_field(err, field, "is no IPv4 address");
	*ret = a.s_addr;
	return 0;
}

static int take_network(const AGENT(NetworkConfig) * net,
			struct configure_request *ret, struct error *err)
{
	uint32_t server;

	if (take_address(net->address, "network.address", &ret->address, err) <
		    0 ||
	    take_address(net->gateway, "network.gateway", &ret->gateway, err) <
		    0 ||
	    take_mac(net->mac, "network.mac", ret->mac, &ret->has_mac, err) <
		    0 ||
	    take_mac(net->gateway_mac, "network.gateway_mac", ret->gateway_mac,
		     &ret->has_gateway_mac, err) < 0)
		return -1;
	if (net->n_dns_servers > DNS_SERVERS_MAX)
		return err_field(err, "network.dns_servers", "more than %u",
				 DNS_SERVERS_MAX);
	for (size_t i = 0; i < net->n_dns_servers; i++)
		if (take_address(net->dns_servers[i], "network.dns_servers",
				 &server, err) < 0)
			return -1;
	if (net->mtu && (net->mtu < MTU_MIN || net->mtu > MTU_MAX))
		return err_field(err, "network.mtu", "must be %u to %u",
				 MTU_MIN, MTU_MAX);
	return 0;
}

static int check_names(const AGENT(ConfigureRequest) * msg, struct error *err)
{
	uint8_t id[16];

	if (strlen(msg->sandbox_id) >= AGENT_ID_MAX)
		return err_field(err, "sandbox_id", "longer than %u bytes",
				 AGENT_ID_MAX - 1);
	if (!str_empty(msg->hostname) &&
	    !str_is_name(msg->hostname, HOSTNAME_MAX_LEN, "a-zA-Z0-9.-"))
		return err_field(err, "hostname", "is no host name");
	if (!str_empty(msg->workdir) &&
	    (msg->workdir[0] != '/' || strlen(msg->workdir) >= PATH_MAX / 2))
		return err_field(err, "workdir",
				 "must be absolute and under %d bytes",
				 PATH_MAX / 2);
	if (strlen(msg->user) >= USER_NAME_MAX)
		return err_field(err, "user", "longer than %d bytes",
				 USER_NAME_MAX - 1);
	if (!str_empty(msg->machine_id) &&
	    str_unhex(id, sizeof(id), msg->machine_id) < 0)
		return err_field(err, "machine_id", "must be 32 hex digits");
	return 0;
}

static int check_bytes(const AGENT(ConfigureRequest) * msg, struct error *err)
{
	if (msg->entropy.len &&
	    (msg->entropy.len < ENTROPY_MIN || msg->entropy.len > ENTROPY_MAX))
		return err_field(err, "entropy", "must be %u to %u bytes",
				 ENTROPY_MIN, ENTROPY_MAX);
	if (msg->nonce.len && (msg->nonce.len < AGENT_NONCE_MIN ||
			       msg->nonce.len > AGENT_NONCE_MAX))
		return err_field(err, "nonce", "must be %u to %u bytes",
				 AGENT_NONCE_MIN, AGENT_NONCE_MAX);
	if (msg->time && (msg->time->seconds < 0 || msg->time->nanos < 0 ||
			  msg->time->nanos > 999999999))
		return err_field(err, "time", "is out of range");
	if (msg->limits && msg->limits->processes_max > AGENT_PROCESSES_MAX)
		return err_field(err, "limits.processes_max", "more than %u",
				 AGENT_PROCESSES_MAX);
	if (msg->limits &&
	    msg->limits->output_ring_bytes > AGENT_RING_BYTES_MAX)
		return err_field(err, "limits.output_ring_bytes",
				 "more than %u", AGENT_RING_BYTES_MAX);
	return 0;
}

int request_configure(const AGENT(ConfigureRequest) * msg,
		      struct configure_request *ret, struct error *err)
{
	struct configure_request r = { .msg = msg };

	if (check_names(msg, err) < 0 || check_bytes(msg, err) < 0 ||
	    (msg->network && take_network(msg->network, &r, err) < 0) ||
	    env_from_pairs(&r.env, "env", msg->n_env, configure_pair, msg,
			   err) < 0)
		return -1;
	*ret = r;
	return 0;
}
