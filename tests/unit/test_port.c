/* SPDX-License-Identifier: Apache-2.0 */
/* test_port.c - guests' ports that have a listener on the node */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/port.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

struct rig {
	struct config *config;
	struct ports *ports;
};

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	assert_int_equal(config_parse("test.conf",
				      "[ports]\n"
				      "address = 127.0.0.1\n"
				      "range = 42100-42102\n"
				      "url = https://{port}-{id}.{domain}\n"
				      "domain = box.example\n",
				      &rig->config, NULL),
			 0);
	rig->ports = ports_new(rig->config);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	ports_free(rig->ports);
	config_free(rig->config);
	free(rig);
	return 0;
}

static void an_open_port_accepts_and_has_a_url(void **state)
{
	struct rig *rig = *state;
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct port *port;

	assert_int_equal(port_open(rig->ports, "sb_a", 3000, 0, &port, NULL),
			 0);
	assert_string_equal(port->url, "https://3000-sb_a.box.example");
	addr.sin_port = htons(port->host_port);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
}

static void a_port_is_exposed_once(void **state)
{
	struct rig *rig = *state;
	const struct port *port;
	struct error err;

	assert_int_equal(port_open(rig->ports, "sb_a", 3000, 0, &port, NULL),
			 0);
	assert_int_equal(port_open(rig->ports, "sb_a", 3000, 0, &port, &err),
			 -1);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_int_equal(port_open(rig->ports, "sb_b", 3000, 0, &port, NULL),
			 0);
}

static void a_used_up_range_is_said_so(void **state)
{
	struct rig *rig = *state;
	const struct port *port;
	struct error err;

	for (uint16_t i = 1; i <= 3; i++)
		assert_int_equal(port_open(rig->ports, "sb_a", i, 0, &port,
					   NULL),
				 0);
	assert_int_equal(port_open(rig->ports, "sb_a", 4, 0, &port, &err), -1);
	assert_string_equal(err_reason_of(&err), "RESOURCE_EXHAUSTED");
}

static void a_closed_number_is_the_last_to_be_used_again(void **state)
{
	struct rig *rig = *state;
	const struct port *port;
	uint16_t first;

	assert_int_equal(port_open(rig->ports, "sb_a", 1, 0, &port, NULL), 0);
	first = port->host_port;
	port_close(rig->ports, "sb_a", 1);
	assert_int_equal(port_open(rig->ports, "sb_b", 1, 0, &port, NULL), 0);
	assert_int_not_equal(port->host_port, first);
}

static void a_restart_gets_its_number_again(void **state)
{
	struct rig *rig = *state;
	const struct port *port;

	assert_int_equal(port_open(rig->ports, "sb_a", 1, 42102, &port, NULL),
			 0);
	assert_int_equal(port->host_port, 42102);
}

static void ports_are_listed_by_number_and_closed_together(void **state)
{
	struct rig *rig = *state;
	const struct port *port, *list[PORTS_PER_SANDBOX_MAX];

	assert_int_equal(port_open(rig->ports, "sb_a", 9, 0, &port, NULL), 0);
	assert_int_equal(port_open(rig->ports, "sb_a", 2, 0, &port, NULL), 0);
	assert_int_equal(port_open(rig->ports, "sb_b", 5, 0, &port, NULL), 0);
	assert_int_equal(ports_of(rig->ports, "sb_a", list), 2);
	assert_int_equal(list[0]->number, 2);
	assert_int_equal(list[1]->number, 9);
	ports_close_all(rig->ports, "sb_a");
	assert_int_equal(ports_of(rig->ports, "sb_a", list), 0);
	assert_int_equal(ports_of(rig->ports, "sb_b", list), 1);
}

static void a_pattern_with_an_unknown_word_is_refused(void **state)
{
	char url[64];

	(void)state;
	assert_int_equal(port_url(url, sizeof(url), "http://{host}", "a", 1,
				  "1.2.3.4", 5, "d", NULL),
			 -1);
	assert_int_equal(port_url(url, sizeof(url),
				  "http://{address}:{host_port}/{id}", "a", 1,
				  "1.2.3.4", 5, "d", NULL),
			 0);
	assert_string_equal(url, "http://1.2.3.4:5/a");
}

static void a_url_that_does_not_fit_is_refused(void **state)
{
	char url[8];

	(void)state;
	assert_int_equal(port_url(url, sizeof(url), "{id}", "12345678", 1, "",
				  5, "", NULL),
			 -1);
	assert_int_equal(port_url(url, sizeof(url), "{id}", "1234567", 1, "", 5,
				  "", NULL),
			 0);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_open_port_accepts_and_has_a_url),
		T(a_port_is_exposed_once),
		T(a_used_up_range_is_said_so),
		T(a_closed_number_is_the_last_to_be_used_again),
		T(a_restart_gets_its_number_again),
		T(ports_are_listed_by_number_and_closed_together),
		T(a_pattern_with_an_unknown_word_is_refused),
		T(a_url_that_does_not_fit_is_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
