/* SPDX-License-Identifier: Apache-2.0 */
/* link.h - where the node can reach the agent */
#ifndef AGENT_LINK_H
#define AGENT_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct error;
struct sockaddr_vm;

/* Each returns a non-blocking descriptor for server.h, or -1 with *@err set. */

/* A socket in the file system that only its owner may use. For tests. */
int link_unix_listen(const char *path, struct error *err);

/* AF_VSOCK, any CID of ours. */
int link_vsock_listen(uint32_t port, struct error *err);
/* The peer is the host (CID 2): nobody in the guest is. */
bool link_vsock_is_host(int fd);
/* Of such an address: the host itself, and nobody else, not even the guest's
 * own processes over loopback.
 */
bool link_is_host(const struct sockaddr_vm *peer, socklen_t len);

/* The virtio-serial port of this name; its device becomes 0600. -1 with
 * ERR_NOT_FOUND when there is none.
 */
int link_serial_open(const char *name, struct error *err);

#endif /* AGENT_LINK_H */
