/* SPDX-License-Identifier: Apache-2.0 */
/* account.h - what each sandbox holds of the node's quota (quota.h)
 *
 * Taken by admission before the state that needs it; given back by looking at
 * the state, after every change of it. So no path can forget to.
 */
#ifndef ENGINE_ACCOUNT_H
#define ENGINE_ACCOUNT_H

#include "engine/sandbox.h"

#include <stdbool.h>

struct engine;
struct error;

/* A new sandbox of this specification, with a token of the creation rate. What
 * was taken is the sandbox's once account_begin() was called for it; until
 * then account_forget() gives it back.
 */
int account_admit(struct engine *e, const Spec *spec, struct error *err);
void account_forget(struct engine *e, const Spec *spec);
void account_begin(struct sandbox *sb);
/* To run again. */
int account_resume(struct sandbox *sb, struct error *err);
/* At start: it is there, whatever the limits say. */
void account_adopt(struct sandbox *sb);
/* It is no more. */
void account_drop(struct sandbox *sb);
/* Give back what its state does not need. */
void account_settle(struct sandbox *sb);

#endif /* ENGINE_ACCOUNT_H */
