/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_sandbox.c - create, get, list, and the rest of a sandbox's life */
#include "ctl/ctl.h"

#include "ctl/rule.h"
#include "ctl/text.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Map entries of all kinds have the same shape; protoc-c gives each message
 * types of its own.
 */
typedef NODE(CreateSandboxRequest__EnvEntry) env_entry;
typedef NODE(CreateSandboxRequest__MetadataEntry) metadata_entry;

/* "SANDBOX_STATE_RUNNING" -> "RUNNING" */
static const char *state_name(NODE(SandboxState) state)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
		&sandbox__node__v1__sandbox_state__descriptor, (int)state);

	return v ? v->name + strlen("SANDBOX_STATE_") : "?";
}

static int parse_state(const char *text, NODE(SandboxState) * ret,
		       struct error *err)
{
	const ProtobufCEnumDescriptor *d =
		&sandbox__node__v1__sandbox_state__descriptor;

	for (unsigned int i = 1; i < d->n_values; i++) {
		const char *name = d->values[i].name;

		if (strcasecmp(text, name) != 0 &&
		    strcasecmp(text, name + strlen("SANDBOX_STATE_")) != 0)
			continue;
		*ret = (NODE(SandboxState))d->values[i].value;
		return 0;
	}
	return err_set(err, ERR_INVALID,
		       "--state '%s': creating, running, pausing, paused, "
		       "resuming, terminating, terminated or failed is needed",
		       text);
}

static void print_map(const char *what, size_t n, void **entries)
{
	for (size_t i = 0; i < n; i++) {
		const env_entry *e = entries[i];
		_cleanup_free_ char *value =
			text_safe(e->value, strlen(e->value));

		printf("%-11s %s=%s\n", i ? "" : what, e->key, value);
	}
}

static void print_rules(const char *what, size_t n, NODE(EgressRule) * *rules)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *text = rule_format(rules[i]);

		printf("%-11s %s\n", i ? "" : what, text);
	}
}

static void print_duration(const char *what, uint64_t ms)
{
	if (ms % 1000)
		printf("%-11s %" PRIu64 "ms\n", what, ms);
	else
		printf("%-11s %" PRIu64 "s\n", what, ms / 1000);
}

static void print_sandbox(const NODE(Sandbox) * s)
{
	char time[CTL_TIME_MAX];

	printf("%-11s %s\n", "id", s->id);
	printf("%-11s %s%s%s%s\n", "state", state_name(s->state),
	       *s->state_reason ? " (" : "", s->state_reason,
	       *s->state_reason ? ")" : "");
	if (*s->agent_problem)
		printf("%-11s %s\n", "problem", s->agent_problem);
	printf("%-11s %s\n", "image", s->image);
	if (s->resources)
		printf("%-11s %u vCPU, %u MiB memory, %u MiB disk\n",
		       "resources", s->resources->cpu, s->resources->memory_mib,
		       s->resources->disk_mib);
	if (*s->tenant)
		printf("%-11s %s\n", "tenant", s->tenant);
	if (*s->address)
		printf("%-11s %s\n", "address", s->address);
	printf("%-11s %s\n", "workdir", s->workdir);
	printf("%-11s %s\n", "created", ctl_time(time, s->created_at));
	if (s->expires_at)
		printf("%-11s %s\n", "expires", ctl_time(time, s->expires_at));
	print_duration("timeout", s->timeout_ms);
	print_duration("idle", s->idle_timeout_ms);
	print_duration("runtime", s->total_runtime_ms);
	if (s->cost > 0)
		printf("%-11s %.6f\n", "cost", s->cost);
	if (*s->start_kind)
		printf("%-11s %s\n", "started by", s->start_kind);
	if (s->egress) {
		printf("%-11s %s\n", "egress",
		       s->egress->default_action ==
				       NODE_ENUM(EGRESS_DEFAULT, DENY) ?
			       "deny" :
			       "allow");
		print_rules("allow", s->egress->n_allow, s->egress->allow);
		print_rules("deny", s->egress->n_deny, s->egress->deny);
	}
	print_map("env", s->n_env, (void **)s->env);
	print_map("metadata", s->n_metadata, (void **)s->metadata);
}

/* ---- requests from options ---- */

/* "K=V" options to map entries; *@ret is made even when -1 is returned. */
static int take_pairs(const struct options *o, const char *name,
		      const ProtobufCMessageDescriptor *type, void ***ret,
		      size_t *ret_n, struct error *err)
{
	size_t n = options_count(o, name);

	*ret = xcalloc(n + 1, sizeof(**ret));
	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		const char *text = options_nth(o, name, i);
		const char *equals = strchr(text, '='), *value;
		bool is_env = strcmp(name, "env") == 0;
		env_entry *e;
		char *key;

		if (!is_env && (!equals || equals == text))
			return err_set(err, ERR_INVALID,
				       "--%s '%s': NAME=VALUE is needed", name,
				       text);
		if (options_env(name, text, &key, &value, err) < 0)
			return -1;
		e = xcalloc(1, sizeof(*e));
		protobuf_c_message_init(type, e);
		e->key = key;
		e->value = xstrdup(value);
		(*ret)[(*ret_n)++] = e;
	}
	return 0;
}

static int take_rules(const struct options *o, const char *name,
		      NODE(EgressRule) * **ret, size_t *ret_n,
		      struct error *err)
{
	size_t n = options_count(o, name);

	*ret = xcalloc(n + 1, sizeof(**ret));
	for (*ret_n = 0; *ret_n < n; (*ret_n)++) {
		if (rule_parse(options_nth(o, name, *ret_n), &(*ret)[*ret_n],
			       err) < 0)
			return err_wrap(err, "--%s", name);
	}
	return 0;
}

/* NULL in *@ret when no option asks for a policy. */
static int take_egress(const struct options *o, NODE(EgressPolicy) * *ret,
		       struct error *err)
{
	const char *action = options_get(o, "egress");
	NODE(EgressPolicy) * policy;

	if (!action && !options_has(o, "allow") && !options_has(o, "deny"))
		return 0;
	policy = xcalloc(1, sizeof(*policy));
	sandbox__node__v1__egress_policy__init(policy);
	*ret = policy;
	if (action && strcmp(action, "allow") == 0)
		policy->default_action = NODE_ENUM(EGRESS_DEFAULT, ALLOW);
	else if (action && strcmp(action, "deny") == 0)
		policy->default_action = NODE_ENUM(EGRESS_DEFAULT, DENY);
	else if (action)
		return err_set(err, ERR_INVALID,
			       "--egress '%s': allow or deny is needed",
			       action);
	if (take_rules(o, "allow", &policy->allow, &policy->n_allow, err) < 0)
		return -1;
	return take_rules(o, "deny", &policy->deny, &policy->n_deny, err);
}

static int take_ports(const struct options *o, NODE(CreateSandboxRequest) * req,
		      struct error *err)
{
	size_t n = options_count(o, "allow-port");

	req->allow_ports = xcalloc(n + 1, sizeof(*req->allow_ports));
	for (size_t i = 0; i < n; i++) {
		const char *text = options_nth(o, "allow-port", i);
		char *end;
		unsigned long port = strtoul(text, &end, 10);

		if (*text < '0' || *text > '9' || *end || port < 1 ||
		    port > 65535)
			return err_set(err, ERR_INVALID,
				       "--allow-port '%s': a number from 1 to "
				       "65535 is needed",
				       text);
		req->allow_ports[req->n_allow_ports++] = (uint32_t)port;
	}
	return 0;
}

static char *copy_option(const struct options *o, const char *name)
{
	const char *v = options_get(o, name);

	return xstrdup(v ? v : "");
}

static int fill_create(const struct options *o,
		       NODE(CreateSandboxRequest) * req, struct error *err)
{
	NODE(Resources) *res = xcalloc(1, sizeof(*res));

	sandbox__node__v1__resources__init(res);
	req->resources = res;
	req->request_id = xstrdup(ctl_request_id());
	req->sandbox_id = copy_option(o, "id");
	req->image = copy_option(o, "image");
	req->template_ = copy_option(o, "template");
	req->workdir = copy_option(o, "workdir");
	req->tenant = copy_option(o, "tenant");
	req->no_idle_pause = options_has(o, "no-idle-pause");
	req->no_auto_resume = options_has(o, "no-auto-resume");
	if (options_u32(o, "cpu", 0, UINT32_MAX, &res->cpu, err) < 0 ||
	    options_u32(o, "memory", 0, UINT32_MAX, &res->memory_mib, err) <
		    0 ||
	    options_u32(o, "disk", 0, UINT32_MAX, &res->disk_mib, err) < 0 ||
	    options_duration(o, "timeout", &req->timeout_ms, err) < 0 ||
	    options_duration(o, "idle-timeout", &req->idle_timeout_ms, err) < 0)
		return -1;
	if (take_pairs(
		    o, "env",
		    &sandbox__node__v1__create_sandbox_request__env_entry__descriptor,
		    (void ***)&req->env, &req->n_env, err) < 0 ||
	    take_pairs(
		    o, "metadata",
		    &sandbox__node__v1__create_sandbox_request__metadata_entry__descriptor,
		    (void ***)&req->metadata, &req->n_metadata, err) < 0)
		return -1;
	if (take_egress(o, &req->egress, err) < 0)
		return -1;
	return take_ports(o, req, err);
}

/* ---- commands ---- */

/* What most of them answer: a sandbox, in its first field. */
static int print_answer(struct ctl *ctl, const ProtobufCMessage *m,
			bool id_only)
{
	const NODE(GetSandboxResponse) *r = (const NODE(GetSandboxResponse) *)m;

	if (ctl->json)
		ctl_print_json(m);
	else if (r->sandbox && id_only)
		puts(r->sandbox->id);
	else if (r->sandbox)
		print_sandbox(r->sandbox);
	return CTL_OK;
}

static int cmd_create(struct ctl *ctl)
{
	NODE(CreateSandboxRequest) *req = xcalloc(1, sizeof(*req));
	_cleanup_(message_freep) ProtobufCMessage *owned = &req->base;
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	struct error err = { 0 };
	int status;

	sandbox__node__v1__create_sandbox_request__init(req);
	if (fill_create(ctl->options, req, &err) < 0)
		return ctl_usage(&err);
	if (!*req->image && !*req->template_) {
		err_set(&err, ERR_INVALID, "create needs --image");
		return ctl_usage(&err);
	}
	m = ctl_call(ctl, "CreateSandbox", owned, &status);
	return m ? print_answer(ctl, m, true) : status;
}

static int cmd_get(struct ctl *ctl)
{
	NODE(GetSandboxRequest) req = NODE_INIT(GET_SANDBOX_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	m = ctl_call(ctl, "GetSandbox", &req.base, &status);
	return m ? print_answer(ctl, m, false) : status;
}

static void print_list(const NODE(ListSandboxesResponse) * r)
{
	static const char *const head[] = { "ID",     "STATE",	"IMAGE",
					    "CPU",    "MEMORY", "CREATED",
					    "TENANT", NULL };
	struct table *t = table_new(head);
	char time[CTL_TIME_MAX];

	for (size_t i = 0; i < r->n_sandboxes; i++) {
		const NODE(Sandbox) *s = r->sandboxes[i];

		table_cell(t, "%s", s->id);
		table_cell(t, "%s", state_name(s->state));
		table_cell(t, "%s", s->image);
		table_cell(t, "%u", s->resources ? s->resources->cpu : 0);
		table_cell(t, "%u MiB",
			   s->resources ? s->resources->memory_mib : 0);
		table_cell(t, "%s", ctl_time(time, s->created_at));
		table_cell(t, "%s", s->tenant);
	}
	table_print(t, stdout);
	table_free(t);
	if (r->pagination && r->pagination->has_more)
		fprintf(stderr, "%zu of %u; --offset %zu shows more\n",
			r->n_sandboxes, r->pagination->total,
			r->pagination->offset + r->n_sandboxes);
}

static int cmd_list(struct ctl *ctl)
{
	NODE(ListSandboxesRequest) *req = xcalloc(1, sizeof(*req));
	_cleanup_(message_freep) ProtobufCMessage *owned = &req->base;
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const struct options *o = ctl->options;
	struct error err = { 0 };
	int status;

	sandbox__node__v1__list_sandboxes_request__init(req);
	req->image = copy_option(o, "image");
	req->tenant = copy_option(o, "tenant");
	if ((options_has(o, "state") &&
	     parse_state(options_get(o, "state"), &req->state, &err) < 0) ||
	    options_u32(o, "limit", 1, 100, &req->limit, &err) < 0 ||
	    options_u32(o, "offset", 0, UINT32_MAX, &req->offset, &err) < 0 ||
	    take_pairs(
		    o, "metadata",
		    &sandbox__node__v1__list_sandboxes_request__metadata_entry__descriptor,
		    (void ***)&req->metadata, &req->n_metadata, &err) < 0)
		return ctl_usage(&err);
	m = ctl_call(ctl, "ListSandboxes", owned, &status);
	if (!m)
		return status;
	if (ctl->json)
		ctl_print_json(m);
	else
		print_list((const NODE(ListSandboxesResponse) *)m);
	return CTL_OK;
}

static int cmd_update(struct ctl *ctl)
{
	NODE(UpdateSandboxRequest) req = NODE_INIT(UPDATE_SANDBOX_REQUEST);
	Google__Protobuf__UInt32Value timeout = UINT32_VALUE(0);
	Google__Protobuf__UInt32Value idle = UINT32_VALUE(0);
	const struct options *o = ctl->options;
	struct error err = { 0 };
	int status;

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	if (options_duration(o, "timeout", &timeout.value, &err) < 0 ||
	    options_duration(o, "idle-timeout", &idle.value, &err) < 0 ||
	    take_egress(o, &req.egress, &err) < 0) {
		status = ctl_usage(&err);
	} else {
		if (options_has(o, "timeout"))
			req.timeout_ms = &timeout;
		if (options_has(o, "idle-timeout"))
			req.idle_timeout_ms = &idle;
		status = ctl_simple(ctl, "UpdateSandbox", &req.base);
	}
	if (req.egress)
		message_free(&req.egress->base);
	return status;
}

static int cmd_pause(struct ctl *ctl)
{
	NODE(PauseSandboxRequest) req = NODE_INIT(PAUSE_SANDBOX_REQUEST);

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	return ctl_simple(ctl, "PauseSandbox", &req.base);
}

static int cmd_resume(struct ctl *ctl)
{
	NODE(ResumeSandboxRequest) req = NODE_INIT(RESUME_SANDBOX_REQUEST);

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	return ctl_simple(ctl, "ResumeSandbox", &req.base);
}

/* An end that the node, or the kernel below it, still waits for. */
static void tell_what_is_left(const NODE(Sandbox) * s)
{
	_cleanup_free_ char *why = NULL;

	if (!s ||
	    s->state !=
		    SANDBOX__NODE__V1__SANDBOX_STATE__SANDBOX_STATE_TERMINATING)
		return;
	why = text_safe(s->state_reason, strlen(s->state_reason));
	fprintf(stderr, "sandboxctl: it is ending, not ended: %s\n", why);
}

static int cmd_terminate(struct ctl *ctl)
{
	NODE(TerminateSandboxRequest)
	req = NODE_INIT(TERMINATE_SANDBOX_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	int status;

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	m = ctl_call(ctl, "TerminateSandbox", &req.base, &status);
	if (m && ctl->json)
		ctl_print_json(m);
	else if (m)
		tell_what_is_left(
			((const NODE(TerminateSandboxResponse) *)m)->sandbox);
	return status;
}

static int print_forks(struct ctl *ctl, const ProtobufCMessage *m)
{
	const NODE(ForkSandboxResponse) *r =
		(const NODE(ForkSandboxResponse) *)m;

	if (ctl->json)
		ctl_print_json(m);
	for (size_t i = 0; i < r->n_sandboxes && !ctl->json; i++)
		puts(r->sandboxes[i]->id);
	return CTL_OK;
}

/* ID may name a sandbox or a snapshot: a sandbox first, and only the answer
 * that there is none makes us try the other. --snapshot leaves no doubt.
 */
static int cmd_fork(struct ctl *ctl)
{
	NODE(ForkSandboxRequest) req = NODE_INIT(FORK_SANDBOX_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	struct grpc_status st = { 0 };
	struct error err = { 0 };
	int status;

	req.count = 1;
	if (options_u32(ctl->options, "count", 1, 64, &req.count, &err) < 0)
		return ctl_usage(&err);
	status = ctl_begin(ctl);
	if (status)
		return status;
	if (!options_has(ctl->options, "snapshot")) {
		req.request_id = ctl_request_id();
		req.sandbox_id = ctl_word(ctl, 0);
		m = client_unary(ctl->client, "ForkSandbox", &req.base, &st);
		if (m)
			return print_forks(ctl, m);
		if (strcmp(st.reason, "SANDBOX_NOT_FOUND") != 0)
			return ctl_status(ctl, &st);
	}
	req.request_id = ctl_request_id();
	req.sandbox_id = (char *)(uintptr_t) "";
	req.snapshot_id = ctl_word(ctl, 0);
	m = ctl_call(ctl, "ForkSandbox", &req.base, &status);
	return m ? print_forks(ctl, m) : status;
}

static int cmd_restore(struct ctl *ctl)
{
	NODE(RestoreSandboxRequest) req = NODE_INIT(RESTORE_SANDBOX_REQUEST);

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	req.snapshot_id = ctl_word(ctl, 1);
	return ctl_simple(ctl, "RestoreSandbox", &req.base);
}

#define POLICY_OPTIONS                                                         \
	{ "egress", 0, "allow|deny", false, "what no rule names" },            \
		{ "allow", 0, "RULE", true,                                    \
		  "TARGET[:PORT[-PORT],..][/tcp|udp|any][/unverified]" },      \
	{                                                                      \
		"deny", 0, "RULE", true, "the same, to refuse"                 \
	}

static const struct option_def create_options[] = {
	{ "image", 0, "I", false, "image to start from (required)" },
	{ "template", 0, "NAME", false, "or an alias that the node knows" },
	{ "id", 0, "ID", false, "id to give it" },
	{ "cpu", 0, "N", false, "vCPUs: 2, 4 or 8" },
	{ "memory", 0, "MIB", false, "memory, 2048 to 16384" },
	{ "disk", 0, "MIB", false, "root disk, 5120 to 51200" },
	{ "env", 0, "K=V", true, "environment of all it runs" },
	{ "workdir", 0, "D", false, "where commands start" },
	{ "timeout", 0, "DUR", false, "maximum life" },
	{ "idle-timeout", 0, "DUR", false, "idle time until pause" },
	{ "no-idle-pause", 0, NULL, false, "never pause when idle" },
	{ "no-auto-resume", 0, NULL, false, "stay paused when called" },
	{ "metadata", 0, "K=V", true, "labels to list by" },
	POLICY_OPTIONS,
	{ "allow-port", 0, "N", true, "port that may be exposed" },
	{ "tenant", 0, "T", false, "who pays" },
	{ 0 },
};

static const struct option_def list_options[] = {
	{ "state", 0, "S", false, "only in this state" },
	{ "image", 0, "I", false, "only of this image" },
	{ "metadata", 0, "K=V", true, "only with this label" },
	{ "tenant", 0, "T", false, "only of this tenant" },
	{ "limit", 0, "N", false, "at most so many, 1 to 100" },
	{ "offset", 0, "N", false, "leave out the first" },
	{ 0 },
};

static const struct option_def update_options[] = {
	{ "timeout", 0, "DUR", false, "maximum life, from its creation" },
	{ "idle-timeout", 0, "DUR", false, "idle time until pause" },
	POLICY_OPTIONS,
	{ 0 },
};

static const struct option_def fork_options[] = {
	{ "count", 0, "N", false, "how many, 1 to 64" },
	{ "snapshot", 0, NULL, false, "ID is a snapshot" },
	{ 0 },
};

const struct command sandbox_commands[] = {
	{ "create", "--image I [OPTIONS]", "start a sandbox, print its id", 0,
	  0, false, create_options, cmd_create },
	{ "get", "ID", "show a sandbox", 1, 1, false, NULL, cmd_get },
	{ "list", "[OPTIONS]", "list sandboxes", 0, 0, false, list_options,
	  cmd_list },
	{ "update", "ID [OPTIONS]", "change timeouts or egress policy", 1, 1,
	  false, update_options, cmd_update },
	{ "pause", "ID", "save it to disk and free its memory", 1, 1, false,
	  NULL, cmd_pause },
	{ "resume", "ID", "go on where it was", 1, 1, false, NULL, cmd_resume },
	{ "terminate", "ID", "end it and delete its data", 1, 1, false, NULL,
	  cmd_terminate },
	{ "fork", "ID [--count N]", "new sandboxes from its present state", 1,
	  1, false, fork_options, cmd_fork },
	{ "restore", "ID SNAPSHOT", "put it back to a snapshot", 2, 2, false,
	  NULL, cmd_restore },
	{ 0 },
};
