/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - one client's connection, as its calls see it */
#ifndef FRONT_CLIENT_H
#define FRONT_CLIENT_H

#include "front/front.h"

/**
 * struct client - Whose calls they are
 * @identity:	Who it is: a SAN, or "uid:N"
 *
 * Lives as long as any of its calls.
 */
struct client {
	struct front *front;
	char identity[IDENTITY_MAX];
};

#endif /* FRONT_CLIENT_H */
