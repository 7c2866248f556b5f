/* SPDX-License-Identifier: Apache-2.0 */
/* test_webhook.c - events reach a receiver that fails, hangs and goes away
 *
 * The engine over fakes, the real sandboxd-webhook, jailed as in earnest, and a
 * receiver in a thread of this process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/event.h"
#include "engine/webhook.h"
#include "engine_rig.h"
#include "front_pki.h"
#include "webhook/poster.h"
#include "webhook/sign.h"
#include "webhook_receiver.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the node ---- */

static void write_secret(mode_t mode)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/secret", rig.dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_int_equal(write(fd, RECEIVER_SECRET "\n", strlen(RECEIVER_SECRET) + 1),
			 strlen(RECEIVER_SECRET) + 1);
	fchmod(fd, mode);
	close(fd);
}

static void configure(const char *scheme, const char *host, const char *more)
{
	char cwd[200];

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(rig.settings, sizeof(rig.settings),
		 "[paths]\nlibexec = %s\n[webhook]\nurl = %s://%s:%u/hook\n"
		 "secret_file = %s/secret\nretry_min = 10ms\n"
		 "retry_max = 100ms\nuser = %s\n%s",
		 cwd, scheme, host, receiver.port, rig.dir,
		 geteuid() == 0 ? "nobody" : "", more);
}

static int setup_with(void **state, const char *more)
{
	struct MHD_Daemon *mhd;

	pthread_mutex_lock(&receiver.lock);
	receiver.fail = receiver.requests = receiver.bad = 0;
	receiver.n_ids = receiver.at_most = 0;
	receiver.hang = false;
	receiver.port = 0;
	mhd = receiver.mhd;
	pthread_mutex_unlock(&receiver.lock);
	assert_null(mhd);
	receiver_start(false);
	if (rig_setup(state) < 0)
		return -1;
	rig_stop();
	write_secret(0600);
	configure("http", "127.0.0.1", more);
	rig_start();
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, "");
}

static int setup_small(void **state)
{
	return setup_with(state, "batch = 3\n");
}

static int setup_filtered(void **state)
{
	return setup_with(state, "types = sandbox. cost.\n");
}

static int setup_quick(void **state)
{
	return setup_with(state, "timeout = 200ms\n");
}

static int teardown(void **state)
{
	int r = rig_teardown(state);

	receiver_stop();
	return r;
}

static uint64_t newest(void)
{
	uint64_t oldest, n;

	store_events_range(rig.e->store, &oldest, &n);
	return n;
}

static uint64_t cursor(void)
{
	struct webhook_stats st;

	webhook_stats(rig.e->webhook, &st);
	return st.cursor;
}

static void emit(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		event_emit(rig.e, "node.draining", "",
			   EVENT_DATA({ "draining", "true" }));
}

/* The only child that is ours and is named so. */
static pid_t process(void)
{
	char cmd[96], text[32] = "";
	FILE *f;

	snprintf(cmd, sizeof(cmd), "pgrep -P %d -f sandboxd-webhook", getpid());
	f = popen(cmd, "r");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		pclose(f);
	return (pid_t)atoi(text);
}

/* ---- tests ---- */

static void events_are_posted_signed_and_in_order(void **state)
{
	uint64_t first = newest() + 1;

	(void)state;
	rig_until(process() > 0);
	assert_true(rig_create("a"));
	assert_true(rig_do("PauseSandbox", "a"));
	assert_true(rig_do("TerminateSandbox", "a"));
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
	assert_string_equal(receiver.types[0], "sandbox.created");
	assert_non_null(strstr(receiver.last_id, rig.e->node_id));
	assert_string_equal(receiver.agent, "sandboxd/" PACKAGE_VERSION);
	rig_until(cursor() == newest());
}

static void what_was_there_before_is_not_posted(void **state)
{
	(void)state;
	emit(1);
	rig_until(receiver_n_taken() > 0);
	/* node.started was there when the webhook was first configured. */
	assert_int_not_equal(receiver.ids[0], 1);
	assert_string_equal(receiver.types[0], "node.draining");
}

static void a_receiver_that_fails_is_tried_until_it_takes(void **state)
{
	uint64_t first = newest() + 1;
	struct webhook_stats st;

	(void)state;
	receiver.status = 503;
	receiver.fail = 7;
	emit(20);
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
	assert_true(receiver.requests >= 8);
	webhook_stats(rig.e->webhook, &st);
	assert_int_equal(st.failures, 7);
}

static void batches_are_bounded(void **state)
{
	uint64_t first = newest() + 1;

	(void)state;
	receiver.status = 500;
	receiver.fail = 3; /* meanwhile they gather */
	emit(30);
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
	assert_in_range(receiver.last_n, 1, 3);
	assert_true(receiver.requests >= 10 + 3);
}

static void a_batch_that_is_too_large_is_halved(void **state)
{
	uint64_t first = newest() + 1;

	(void)state;
	receiver.at_most = 2;
	emit(30);
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
}

static void a_receiver_that_is_not_there_is_waited_for(void **state)
{
	uint64_t first = newest() + 1;
	struct webhook_stats st;

	(void)state;
	receiver_stop();
	emit(10);
	rig_until((webhook_stats(rig.e->webhook, &st), st.failures >= 3));
	receiver_start(false);
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
}

static void a_receiver_that_hangs_blocks_nobody(void **state)
{
	uint64_t began, first = newest() + 1;

	(void)state;
	receiver.hang = true;
	emit(1);
	rig_until(receiver_n_requests() >= 2); /* timed out, and tried again */
	began = loop_now_ms();
	assert_true(rig_create("a"));
	assert_true(rig_do("TerminateSandbox", "a"));
	assert_true(loop_now_ms() - began < 1000);
	pthread_mutex_lock(&receiver.lock);
	receiver.hang = false;
	while (receiver.n_hung)
		MHD_resume_connection(receiver.hung[--receiver.n_hung]);
	pthread_mutex_unlock(&receiver.lock);
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
}

static void a_killed_process_goes_on_where_it_was(void **state)
{
	uint64_t first = newest() + 1;

	(void)state;
	receiver.status = 500;
	for (int i = 0; i < 5; i++) {
		pid_t pid;

		emit(7);
		receiver.fail = 1;
		rig_until((pid = process()) > 0);
		kill(pid, SIGKILL);
		rig_until(process() != pid);
		emit(3);
	}
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
}

static void a_restarted_engine_goes_on_where_it_was(void **state)
{
	uint64_t first = newest() + 1;

	(void)state;
	emit(5);
	rig_until(cursor() == newest());
	receiver_stop();
	emit(20);
	rig_stop();
	rig_start(); /* node.started comes behind */
	emit(1);
	receiver_start(false);
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
}

static void only_the_types_asked_for_are_posted(void **state)
{
	(void)state;
	emit(5);
	assert_true(rig_create("a"));
	assert_true(rig_do("TerminateSandbox", "a"));
	emit(5);
	rig_until(cursor() == newest());
	for (size_t i = 0; i < receiver.n_ids; i++)
		assert_true(!strncmp(receiver.types[i], "sandbox.", 8) ||
			    !strncmp(receiver.types[i], "cost.", 5));
	assert_true(receiver.n_ids >= 3);
}

static void what_was_kept_too_short_is_counted_as_lost(void **state)
{
	struct webhook_stats st;

	(void)state;
	receiver_stop();
	emit(1);
	rig_until((webhook_stats(rig.e->webhook, &st), st.failures >= 1));
	rig_stop();
	rig_start();
	rig.config->events_max = 100;
	emit(500);
	event_trim(rig.e);
	receiver_start(false);
	rig_until(receiver_last_taken() == newest());
	webhook_stats(rig.e->webhook, &st);
	/* What the process had in its hands when they went may have come. */
	assert_in_range(st.lost, 200, 410);
}

/* ---- the secret, TLS, reload ---- */

static void a_secret_that_others_can_read_is_refused(void **state)
{
	struct webhook *w = NULL;
	struct error err;

	(void)state;
	write_secret(0644);
	assert_int_equal(webhook_new(rig.e, &w, &err), -1);
	assert_non_null(strstr(err.msg, "0600"));
	write_secret(0600);
}

static void a_url_in_the_clear_is_refused(void **state)
{
	static const char *const bad[] = { "http://hooks.example.org/x",
					   "http://127.0.0.1.example.org/",
					   "ftp://127.0.0.1/",
					   "http://localhostx/" };
	struct config *c;
	struct error err;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text),
			 "[webhook]\nurl = %s\nsecret_file = /x\n", bad[i]);
		assert_int_equal(config_parse("t", text, &c, &err), -1);
		assert_non_null(strstr(err.msg, "[webhook] url"));
	}
	assert_int_equal(
		config_parse("t", "[webhook]\nurl = https://x/\n", &c, &err),
		-1);
	assert_non_null(strstr(err.msg, "secret_file"));
}

static void pem_of(int fd, char *ret, size_t size)
{
	ssize_t n = pread(fd, ret, size - 1, 0);

	assert_true(n > 0);
	ret[n] = '\0';
	close(fd);
}

/* Over TLS, by name: what the jail lets it look up and load. */
static void over_tls_the_receiver_must_prove_itself(void **state)
{
	const struct pki_spec spec = { .san = "DNS:localhost",
				       .usage = "serverAuth" };
	struct pki_ca ca, other;
	struct pki_cert cert;
	struct webhook_stats st;
	uint64_t first = newest() + 1;
	char path[128], more[160], pem[8192];
	int fd;

	(void)state;
	rig_stop();
	receiver_stop();
	pki_ca_new(&ca, "receivers");
	pki_ca_new(&other, "others");
	pki_cert_new(&cert, &ca, &spec);
	pem_of(pki_cert_fd(cert.cert), receiver.cert, sizeof(receiver.cert));
	pem_of(pki_key_fd(cert.key), receiver.key, sizeof(receiver.key));
	receiver_start(true);
	snprintf(path, sizeof(path), "%s/ca", rig.dir);
	pem_of(pki_cert_fd(other.cert), pem, sizeof(pem));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, pem, strlen(pem)), strlen(pem));
	close(fd);
	snprintf(more, sizeof(more), "ca = %s\n", path);
	configure("https", "localhost", more);
	rig_start();
	emit(3);
	rig_until((webhook_stats(rig.e->webhook, &st), st.failures >= 2));
	assert_int_equal(receiver_n_requests(), 0);

	/* The right one, by a reload. */
	pem_of(pki_cert_fd(ca.cert), pem, sizeof(pem));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, pem, strlen(pem)), strlen(pem));
	close(fd);
	engine_reloaded(rig.e);
	rig_until(receiver_last_taken() == newest());
	receiver_assert_all_taken(first, newest());
	pki_cert_free(&cert);
	pki_ca_free(&ca);
	pki_ca_free(&other);
}

static void pauses_grow_and_are_drawn_by_lot(void **state)
{
	(void)state;
	assert_int_equal(poster_pause_ms(1000, 60000, 1, 0), 500);
	assert_int_equal(poster_pause_ms(1000, 60000, 1, 1), 1000);
	assert_int_equal(poster_pause_ms(1000, 60000, 4, 0), 4000);
	assert_int_equal(poster_pause_ms(1000, 60000, 7, 1), 60000);
	assert_int_equal(poster_pause_ms(1000, 60000, 1000, 0), 30000);
}

/* Against openssl's own command. */
static void a_signature_is_as_the_standard_has_it(void **state)
{
	char text[SIGN_MAX];

	(void)state;
	assert_int_equal(sign(text, (const uint8_t *)"0123456789abcdef", 16,
			      "msg_1", 1700000000, "[]", 2),
			 0);
	/* printf 'msg_1.1700000000.[]' | openssl dgst -sha256 -hmac
	 * 0123456789abcdef -binary | base64
	 */
	assert_string_equal(text,
			    "v1,eY5hHXTfx1x2c+6GU26kVC3Zh5HvogJ9/z1zbShUk7w=");
}

#define TEST(f)	     cmocka_unit_test_setup_teardown(f, setup, teardown)
#define WITH(f, how) cmocka_unit_test_setup_teardown(f, how, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_grow_and_are_drawn_by_lot),
		cmocka_unit_test(a_signature_is_as_the_standard_has_it),
		TEST(events_are_posted_signed_and_in_order),
		TEST(what_was_there_before_is_not_posted),
		TEST(a_receiver_that_fails_is_tried_until_it_takes),
		WITH(batches_are_bounded, setup_small),
		TEST(a_batch_that_is_too_large_is_halved),
		TEST(a_receiver_that_is_not_there_is_waited_for),
		WITH(a_receiver_that_hangs_blocks_nobody, setup_quick),
		TEST(a_killed_process_goes_on_where_it_was),
		TEST(a_restarted_engine_goes_on_where_it_was),
		WITH(only_the_types_asked_for_are_posted, setup_filtered),
		TEST(what_was_kept_too_short_is_counted_as_lost),
		TEST(a_secret_that_others_can_read_is_refused),
		TEST(a_url_in_the_clear_is_refused),
		TEST(over_tls_the_receiver_must_prove_itself),
	};

	if (access("./sandboxd-webhook", X_OK) < 0)
		return 77;
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
