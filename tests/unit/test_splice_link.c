/* SPDX-License-Identifier: Apache-2.0 */
/* test_splice_link.c - the engine against its splice, which may be anybody's */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/grant.h"
#include "engine/net/splice_link.h"
#include "sandbox/ipc/v1/splice.pb-c.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_US 2000000

struct rig {
	struct loop *loop;
	struct splice_link *link;
	struct ipc *splice; /* played by the test */
	bool up, allow, gone;
	unsigned int asked, denied, closed, down;
	uint64_t answered;
	bool allowed;
	size_t fds;
	uint64_t cut;
};

static int on_ask(const struct splice_flow *f, void *arg)
{
	struct rig *r = arg;

	r->asked++;
	assert_string_equal(f->name, "a.example");
	assert_int_equal(f->slot, 3);
	assert_int_equal(f->port, 443);
	return r->allow ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
}

static void on_denied(const struct splice_flow *f, const char *why, void *arg)
{
	struct rig *r = arg;

	(void)f;
	assert_string_equal(why, "no-name");
	r->denied++;
}

static void on_closed(uint32_t slot, uint64_t id, void *arg)
{
	struct rig *r = arg;

	(void)slot;
	(void)id;
	r->closed++;
}

static void on_down(void *arg)
{
	struct rig *r = arg;

	r->down++;
}

static const struct splice_link_ops ops = { on_ask, on_denied, on_closed,
					    on_down };

static void on_message(struct ipc *ipc, const uint8_t *data, size_t len,
		       int *fds, size_t n_fds, void *arg)
{
	struct rig *r = arg;
	Sandbox__Ipc__V1__SpliceCommand *m =
		sandbox__ipc__v1__splice_command__unpack(NULL, len, data);

	(void)ipc;
	(void)fds;
	assert_non_null(m);
	switch (m->body_case) {
	case SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_SETUP:
		assert_int_equal(m->setup->first_address, 0x0a640002);
		assert_int_equal(n_fds, 1);
		r->up = true;
		break;
	case SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_ANSWER:
		r->answered = m->answer->id;
		r->allowed = m->answer->allowed;
		r->fds = n_fds;
		break;
	case SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_CUT:
		assert_int_equal(m->cut->n_ids, 1);
		r->cut = m->cut->ids[0];
		break;
	default:
		fail();
	}
	sandbox__ipc__v1__splice_command__free_unpacked(m, NULL);
}

static void on_ipc_closed(struct ipc *ipc, const char *why, void *arg)
{
	struct rig *r = arg;

	(void)ipc;
	(void)why;
	r->gone = true;
}

static const struct ipc_ops ipc_ops = { on_message, on_ipc_closed };

static void run_until(struct rig *r, const bool *flag)
{
	while (!*flag)
		assert_true(sd_event_run(loop_event(r->loop), WAIT_US) > 0);
}

static int set_up(void **state)
{
	struct rig *r = xcalloc(1, sizeof(*r));
	struct net_config config = { .pool = 0x0a640000,
				     .pool_mask = 0xffff0000,
				     .slots = 16 };
	int fds[2];

	assert_int_equal(loop_new(&r->loop, NULL), 0);
	assert_int_equal(ipc_pair(fds, NULL), 0);
	assert_int_equal(splice_link_new_fd(r->loop, fds[0], &config,
					    open("/dev/null", O_RDONLY), &ops,
					    r, &r->link, NULL),
			 0);
	assert_int_equal(
		ipc_new(r->loop, fds[1], &ipc_ops, r, &r->splice, NULL), 0);
	run_until(r, &r->up);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	splice_link_free(r->link, false);
	ipc_free(r->splice);
	loop_free(r->loop);
	free(r);
	return 0;
}

static void send_report(struct rig *r,
			const Sandbox__Ipc__V1__SpliceReport *msg)
{
	uint8_t buf[1024];
	size_t n = sandbox__ipc__v1__splice_report__pack(msg, buf);

	assert_int_equal(ipc_send(r->splice, buf, n, NULL, 0, NULL), 0);
}

static void send_ask(struct rig *r, uint32_t slot, const char *name)
{
	Sandbox__Ipc__V1__SpliceAsk ask = SANDBOX__IPC__V1__SPLICE_ASK__INIT;
	Sandbox__Ipc__V1__SpliceReport msg =
		SANDBOX__IPC__V1__SPLICE_REPORT__INIT;

	ask.id = 77;
	ask.slot = slot;
	ask.port = 443;
	ask.name = (char *)(uintptr_t)name;
	msg.body_case = SANDBOX__IPC__V1__SPLICE_REPORT__BODY_ASK;
	msg.ask = &ask;
	send_report(r, &msg);
}

static void send_denied(struct rig *r, const char *why)
{
	Sandbox__Ipc__V1__SpliceDenied denied =
		SANDBOX__IPC__V1__SPLICE_DENIED__INIT;
	Sandbox__Ipc__V1__SpliceReport msg =
		SANDBOX__IPC__V1__SPLICE_REPORT__INIT;

	denied.why = (char *)(uintptr_t)why;
	msg.body_case = SANDBOX__IPC__V1__SPLICE_REPORT__BODY_DENIED;
	msg.denied = &denied;
	send_report(r, &msg);
}

static void what_is_allowed_comes_with_a_socket(void **state)
{
	struct rig *r = *state;

	r->allow = true;
	send_ask(r, 3, "a.example");
	while (!r->answered)
		assert_true(sd_event_run(loop_event(r->loop), WAIT_US) > 0);
	assert_int_equal(r->answered, 77);
	assert_true(r->allowed);
	assert_int_equal(r->fds, 1);
}

static void what_is_refused_comes_without(void **state)
{
	struct rig *r = *state;

	send_ask(r, 3, "a.example");
	while (!r->answered)
		assert_true(sd_event_run(loop_event(r->loop), WAIT_US) > 0);
	assert_false(r->allowed);
	assert_int_equal(r->fds, 0);
}

static void what_is_cut_is_told(void **state)
{
	struct rig *r = *state;
	uint64_t id = 0x123456789a;

	splice_link_cut(r->link, &id, 1);
	while (!r->cut)
		assert_true(sd_event_run(loop_event(r->loop), WAIT_US) > 0);
	assert_true(r->cut == id);
}

/* None of this does an honest splice say: it is replaced. */
static void a_splice_that_lies_is_ended(void **state)
{
	static const struct {
		uint32_t slot;
		const char *name;
	} asks[] = { { 16, "a.example" },
		     { 3, "" },
		     { 3, "A.example" },
		     { 3, "a\nb" } };

	(void)state;
	for (size_t i = 0; i <= sizeof(asks) / sizeof(asks[0]); i++) {
		void *s;
		struct rig *r;

		set_up(&s);
		r = s;
		if (i < sizeof(asks) / sizeof(asks[0]))
			send_ask(r, asks[i].slot, asks[i].name);
		else
			send_denied(r, "spaces here");
		run_until(r, &r->gone);
		assert_int_equal(r->asked, 0);
		assert_int_equal(r->denied, 0);
		assert_int_equal(r->down, 1);
		tear_down(&s);
	}
}

/* ---- grants ------------------------------------------------------------- */

static bool keep_even(const struct grant *g, void *arg)
{
	(void)arg;
	return g->id % 2 == 0;
}

static void grants_are_forgotten_one_by_one_or_as_judged(void **state)
{
	struct grants *g = grants_new();
	uint64_t ids[GRANTS_MAX];

	(void)state;
	for (uint64_t i = 1; i <= 5; i++)
		assert_true(grants_add(g, 1, i, 0x01020304, 443, "a"));
	assert_true(grants_add(g, 2, 9, 0x01020304, 443, "a"));
	grants_remove(g, 1, 5);
	grants_remove(g, 1, 99);
	assert_int_equal(grants_filter(g, 1, keep_even, NULL, ids), 2);
	assert_int_equal(ids[0] + ids[1], 4);
	assert_int_equal(grants_filter(g, 1, NULL, NULL, ids), 2);
	assert_int_equal(grants_filter(g, 1, NULL, NULL, ids), 0);
	assert_int_equal(grants_filter(g, 2, NULL, NULL, ids), 1);
	grants_free(g);
}

static void a_slot_has_so_many_grants_and_no_more(void **state)
{
	struct grants *g = grants_new();

	(void)state;
	for (uint64_t i = 0; i < GRANTS_MAX; i++)
		assert_true(grants_add(g, 1, i, 1, 443, "a"));
	assert_false(grants_add(g, 1, 9999, 1, 443, "a"));
	assert_true(grants_add(g, 2, 9999, 1, 443, "a"));
	grants_remove(g, 1, 7);
	assert_true(grants_add(g, 1, 9999, 1, 443, "a"));
	grants_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_is_allowed_comes_with_a_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_refused_comes_without,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_cut_is_told, set_up,
						tear_down),
		cmocka_unit_test(a_splice_that_lies_is_ended),
		cmocka_unit_test(grants_are_forgotten_one_by_one_or_as_judged),
		cmocka_unit_test(a_slot_has_so_many_grants_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
