/* SPDX-License-Identifier: Apache-2.0 */
/* port.c - guests' ports that have a listener on the node
 *
 * A new port takes the number after the last one given, so that a number that
 * was just closed is the last to be used again: a client that still has the old
 * URL meets nobody, not a stranger.
 */
#include "engine/port.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/mem.h"
#include "engine/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct entry {
	struct list link;
	struct port port;
};

struct ports {
	const struct config *config;
	struct list entries;
	uint16_t last;
};

struct ports *ports_new(const struct config *config)
{
	struct ports *ports = xcalloc(1, sizeof(*ports));

	ports->config = config;
	list_init(&ports->entries);
	return ports;
}

static void entry_free(struct entry *e)
{
	list_del(&e->link);
	fd_close(&e->port.fd);
	free(e);
}

struct ports *ports_free(struct ports *ports)
{
	if (!ports)
		return NULL;
	list_for_each(&ports->entries, e, struct entry, link) entry_free(e);
	free(ports);
	return NULL;
}

static struct entry *find(struct ports *ports, const char *sandbox_id,
			  uint16_t number)
{
	list_for_each(&ports->entries, e, struct entry, link)
	{
		if (e->port.number == number &&
		    !strcmp(e->port.sandbox_id, sandbox_id))
			return e;
	}
	return NULL;
}

/* A listening socket on @port of the configured address; or -errno. */
static int listen_on(const struct ports *ports, uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port) };
	_cleanup_close_ int fd = -EBADF;

	if (inet_pton(AF_INET, ports->config->ports_address, &addr.sin_addr) !=
	    1)
		return -EINVAL;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) <
		    0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, PORT_BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* The first that can be had, from the wanted or the one after the last on. */
static int find_port(struct ports *ports, uint16_t wanted, uint16_t *ret_port,
		     struct error *err)
{
	uint16_t first = ports->config->ports_first;
	uint16_t last = ports->config->ports_last;
	uint32_t count = (uint32_t)last - first + 1;
	uint32_t from = ports->last >= first && ports->last < last
				? (uint32_t)ports->last + 1 - first
				: 0;
	int fd;

	if (wanted) {
		fd = listen_on(ports, wanted);
		if (fd >= 0) {
			*ret_port = wanted;
			return fd;
		}
	}
	for (uint32_t i = 0; i < count; i++) {
		uint16_t port = (uint16_t)(first + (from + i) % count);

		fd = listen_on(ports, port);
		if (fd >= 0) {
			ports->last = port;
			*ret_port = port;
			return fd;
		}
		if (fd != -EADDRINUSE && fd != -EACCES)
			return err_sys(err, -fd, "listen on %s:%u",
				       ports->config->ports_address, port);
	}
	err_set(err, ERR_LIMIT, "all of the node's ports %u-%u are in use",
		first, last);
	return err_reason(err, "RESOURCE_EXHAUSTED", NULL);
}

int port_open(struct ports *ports, const char *sandbox_id, uint16_t number,
	      uint16_t host_port, const struct port **ret, struct error *err)
{
	const struct port *others[PORTS_PER_SANDBOX_MAX];
	const struct config *c = ports->config;
	struct entry *e;

	if (find(ports, sandbox_id, number)) {
		err_set(err, ERR_EXISTS, "port %u is exposed already", number);
		return err_reason(err, "ALREADY_EXISTS", "port");
	}
	if (ports_of(ports, sandbox_id, others) == PORTS_PER_SANDBOX_MAX) {
		err_set(err, ERR_LIMIT, "%d ports of this sandbox are exposed",
			PORTS_PER_SANDBOX_MAX);
		return err_reason(err, "RESOURCE_EXHAUSTED", "port");
	}
	e = xcalloc(1, sizeof(*e));
	list_init(&e->link);
	e->port.number = number;
	snprintf(e->port.sandbox_id, sizeof(e->port.sandbox_id), "%s",
		 sandbox_id);
	snprintf(e->port.host_address, sizeof(e->port.host_address), "%s",
		 c->ports_address);
	e->port.fd = find_port(ports, host_port, &e->port.host_port, err);
	if (e->port.fd < 0 ||
	    port_url(e->port.url, sizeof(e->port.url), c->ports_url, sandbox_id,
		     number, c->ports_address, e->port.host_port,
		     c->ports_domain ? c->ports_domain : "", err) < 0) {
		entry_free(e);
		return -1;
	}
	list_add_tail(&ports->entries, &e->link);
	*ret = &e->port;
	return 0;
}

const struct port *port_by_number(struct ports *ports, const char *sandbox_id,
				  uint16_t number)
{
	struct entry *e = find(ports, sandbox_id, number);

	return e ? &e->port : NULL;
}

size_t ports_of(struct ports *ports, const char *sandbox_id,
		const struct port *ret[PORTS_PER_SANDBOX_MAX])
{
	size_t n = 0;

	list_for_each(&ports->entries, e, struct entry, link)
	{
		size_t at = n;

		if (n == PORTS_PER_SANDBOX_MAX ||
		    strcmp(e->port.sandbox_id, sandbox_id) != 0)
			continue;
		for (; at > 0 && ret[at - 1]->number > e->port.number; at--)
			ret[at] = ret[at - 1];
		ret[at] = &e->port;
		n++;
	}
	return n;
}

void port_close(struct ports *ports, const char *sandbox_id, uint16_t number)
{
	struct entry *e = find(ports, sandbox_id, number);

	if (e)
		entry_free(e);
}

void ports_close_all(struct ports *ports, const char *sandbox_id)
{
	list_for_each(&ports->entries, e, struct entry, link)
	{
		if (!strcmp(e->port.sandbox_id, sandbox_id))
			entry_free(e);
	}
}

int port_url(char *ret, size_t size, const char *pattern, const char *id,
	     uint16_t port, const char *address, uint16_t host_port,
	     const char *domain, struct error *err)
{
	char port_text[8], host_port_text[8];
	const struct {
		const char *name, *value;
	} words[] = {
		{ "{port}", port_text },	   { "{id}", id },
		{ "{address}", address },	   { "{domain}", domain },
		{ "{host_port}", host_port_text },
	};
	size_t at = 0;

	snprintf(port_text, sizeof(port_text), "%u", port);
	snprintf(host_port_text, sizeof(host_port_text), "%u", host_port);
	while (*pattern) {
		const char *value = NULL;
		size_t skip = 1, len = 1;

		for (size_t i = 0;
		     *pattern == '{' && i < sizeof(words) / sizeof(words[0]);
		     i++) {
			skip = strlen(words[i].name);
			if (!strncmp(pattern, words[i].name, skip)) {
				value = words[i].value;
				len = strlen(value);
				break;
			}
		}
		if (*pattern == '{' && !value)
			return err_set(err, ERR_INVALID,
				       "the URL pattern has an unknown word at "
				       "'%.20s'",
				       pattern);
		if (at + len >= size)
			return err_set(err, ERR_INVALID,
				       "the URL is longer than %zu bytes",
				       size - 1);
		memcpy(ret + at, value ? value : pattern, len);
		at += len;
		pattern += value ? skip : 1;
	}
	ret[at] = '\0';
	return 0;
}
