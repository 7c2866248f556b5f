/* SPDX-License-Identifier: Apache-2.0 */
/* sign.c - what proves to a receiver that a request is the node's */
#include "webhook/sign.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

#define MAC_LEN 32

int sign(char ret[SIGN_MAX], const uint8_t *secret, size_t secret_len,
	 const char *id, int64_t timestamp, const char *body, size_t len)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
						 (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	uint8_t out[MAC_LEN];
	size_t out_len = 0;
	char head[256];
	int n = snprintf(head, sizeof(head), "%s.%" PRId64 ".", id, timestamp);
	int ok;

	ok = n > 0 && (size_t)n < sizeof(head) && ctx &&
	     EVP_MAC_init(ctx, secret, secret_len, params) == 1 &&
	     EVP_MAC_update(ctx, (const uint8_t *)head, (size_t)n) == 1 &&
	     EVP_MAC_update(ctx, (const uint8_t *)body, len) == 1 &&
	     EVP_MAC_final(ctx, out, &out_len, sizeof(out)) == 1 &&
	     out_len == MAC_LEN;
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	if (!ok)
		return -1;
	memcpy(ret, "v1,", 3);
	EVP_EncodeBlock((uint8_t *)ret + 3, out, MAC_LEN);
	return 0;
}
