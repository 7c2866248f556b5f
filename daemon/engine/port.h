/* SPDX-License-Identifier: Apache-2.0 */
/* port.h - guests' ports that have a listener on the node
 *
 * Opens and keeps the listening sockets; front accepts on them. A port keeps
 * its number on the node and its URL over pause, resume and restarts. Main
 * thread only.
 */
#ifndef ENGINE_PORT_H
#define ENGINE_PORT_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct error;
struct ports;

#define PORTS_PER_SANDBOX_MAX 64
#define PORT_URL_MAX	      512
#define PORT_ID_MAX	      63
#define PORT_BACKLOG	      128

/**
 * struct port - One exposure
 * @number:	In the guest
 * @fd:		The listening socket, owned here
 */
struct port {
	char sandbox_id[PORT_ID_MAX + 1];
	uint16_t number;
	uint16_t host_port;
	char host_address[INET_ADDRSTRLEN];
	char url[PORT_URL_MAX];
	int fd;
};

/* @config: [ports] address, range, url, domain; borrowed. */
struct ports *ports_new(const struct config *config);
struct ports *ports_free(struct ports *ports);

/**
 * port_open() - Give a guest's port a listener
 * @host_port:	0: the next free one of the range; else this one, if it can be
 *		had (a restart), or else another
 *
 * Return: 0 and the port (borrowed until port_close()); -1: ERR_EXISTS when it
 * has one, ERR_LIMIT when PORTS_PER_SANDBOX_MAX or the range is used up
 */
int port_open(struct ports *ports, const char *sandbox_id, uint16_t number,
	      uint16_t host_port, const struct port **ret, struct error *err);

/* NULL: not exposed. */
const struct port *port_by_number(struct ports *ports, const char *sandbox_id,
				  uint16_t number);

/* Of one sandbox, by ascending number; at most PORTS_PER_SANDBOX_MAX. */
size_t ports_of(struct ports *ports, const char *sandbox_id,
		const struct port *ret[PORTS_PER_SANDBOX_MAX]);

/* What is not exposed is fine. */
void port_close(struct ports *ports, const char *sandbox_id, uint16_t number);
void ports_close_all(struct ports *ports, const char *sandbox_id);

/**
 * port_url() - What a pattern makes of a port (pure)
 * @pattern:	{port} {id} {address} {host_port} {domain} are replaced
 *
 * Return: 0, or -1 when it does not fit or names something else
 */
int port_url(char *ret, size_t size, const char *pattern, const char *id,
	     uint16_t port, const char *address, uint16_t host_port,
	     const char *domain, struct error *err);

#endif /* ENGINE_PORT_H */
