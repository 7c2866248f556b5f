/* SPDX-License-Identifier: Apache-2.0 */
/* api.h - the API's sockets, and what front is told and asks */
#ifndef ENGINE_API_H
#define ENGINE_API_H

#include <stdbool.h>

#include "engine/front_link.h"

struct engine;
struct error;

/* What front asks; the engine is the argument. */
extern const struct front_link_ops api_front_ops;

/* The unix socket, and the TCP one when the configuration has it. */
int api_bind(struct engine *e, struct error *err);
/* Who may call and with which certificates; again after a reload. */
void api_setup(struct engine *e);

/* Listen on "ADDRESS:PORT", with @loopback on no address that others reach;
 * @key names the setting in what *@err says.
 */
int api_bind_tcp(const char *key, const char *address, bool loopback,
		 int *ret_fd, struct error *err);

#endif /* ENGINE_API_H */
