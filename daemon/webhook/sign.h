/* SPDX-License-Identifier: Apache-2.0 */
/* sign.h - what proves to a receiver that a request is the node's
 *
 * As the Standard Webhooks have it: HMAC-SHA256, with the shared secret, of
 * "ID.TIMESTAMP.BODY", in base64 behind "v1,". Pure.
 */
#ifndef WEBHOOK_SIGN_H
#define WEBHOOK_SIGN_H

#include <stddef.h>
#include <stdint.h>

#define SIGN_MAX 64 /* with its NUL */

/* 0, or -1 when the library fails. */
int sign(char ret[SIGN_MAX], const uint8_t *secret, size_t secret_len,
	 const char *id, int64_t timestamp, const char *body, size_t len);

#endif /* WEBHOOK_SIGN_H */
