/* SPDX-License-Identifier: Apache-2.0 */
/* counts.h - how many calls of each method there were, and how they ended */
#ifndef FRONT_COUNTS_H
#define FRONT_COUNTS_H

#include "front/front.h"

struct grpc_call;

/* @method is borrowed for ever: a literal, never what a client sent. */
void counts_watch(struct front *front, struct grpc_call *call,
		  const char *method);

/* The engine's Count with this id. */
void counts_answer(struct front *front, uint64_t id);

#endif /* FRONT_COUNTS_H */
