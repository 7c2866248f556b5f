/* SPDX-License-Identifier: Apache-2.0 */
/* test_ipc.c - whole messages with descriptors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

struct end {
	struct loop *loop;
	size_t len;
	uint8_t sum;
	int fd;
	bool closed;
};

static void on_message(struct ipc *ipc, const uint8_t *data, size_t len,
		       int *fds, size_t n_fds, void *arg)
{
	struct end *end = arg;

	(void)ipc;
	end->len = len;
	for (size_t i = 0; i < len; i++)
		end->sum ^= data[i];
	if (n_fds)
		end->fd = TAKE_FD(fds[0]);
	loop_stop(end->loop, 0);
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	struct end *end = arg;

	(void)ipc;
	(void)why;
	end->closed = true;
	loop_stop(end->loop, 0);
}

static const struct ipc_ops ops = { .message = on_message,
				    .closed = on_closed };

struct rig {
	struct loop *loop;
	int fds[2];
	struct ipc *a, *b;
	struct end ea, eb;
};

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(ipc_pair(rig->fds, NULL), 0);
	rig->ea = (struct end){ .loop = rig->loop, .fd = -EBADF };
	rig->eb = rig->ea;
	assert_int_equal(
		ipc_new(rig->loop, rig->fds[0], &ops, &rig->ea, &rig->a, NULL),
		0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	ipc_free(rig->a);
	ipc_free(rig->b);
	fd_close(&rig->eb.fd);
	loop_free(rig->loop);
	free(rig);
	return 0;
}

static void open_b(struct rig *rig)
{
	assert_int_equal(
		ipc_new(rig->loop, rig->fds[1], &ops, &rig->eb, &rig->b, NULL),
		0);
}

static void a_message_of_megabytes_arrives_whole_with_its_descriptor(void **state)
{
	struct rig *rig = *state;
	size_t len = 4 << 20;
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	open_b(rig);
	data[len - 1] = 0x5a;
	assert_int_equal(ipc_send(rig->a, data, len, &(int){ 0 }, 1, NULL), 0);
	loop_run(rig->loop);
	assert_int_equal(rig->eb.len, len);
	assert_int_equal(rig->eb.sum, 0x5a);
	assert_true(rig->eb.fd >= 3);
}

static void a_peer_that_goes_is_noticed(void **state)
{
	struct rig *rig = *state;

	close(rig->fds[1]);
	loop_run(rig->loop);
	assert_true(rig->ea.closed);
}

static void a_packet_with_a_bad_flag_ends_the_connection(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(send(rig->fds[1], "\7x", 2, 0), 2);
	loop_run(rig->loop);
	assert_true(rig->ea.closed);
	close(rig->fds[1]);
}

static void a_message_over_the_limit_is_refused_at_once(void **state)
{
	struct rig *rig = *state;
	_cleanup_free_ uint8_t *data = xcalloc(1, IPC_MESSAGE_MAX + 1);

	open_b(rig);
	assert_int_equal(ipc_send(rig->a, data, IPC_MESSAGE_MAX + 1, NULL, 0,
				  NULL),
			 -1);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_message_of_megabytes_arrives_whole_with_its_descriptor),
		T(a_peer_that_goes_is_noticed),
		T(a_packet_with_a_bad_flag_ends_the_connection),
		T(a_message_over_the_limit_is_refused_at_once),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
