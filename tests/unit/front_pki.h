/* SPDX-License-Identifier: Apache-2.0 */
/* front_pki.h - certificates made on the spot, good ones and bad ones */
#ifndef TESTS_FRONT_PKI_H
#define TESTS_FRONT_PKI_H

#include <stdbool.h>
#include <openssl/types.h>

struct pki_ca {
	X509 *cert;
	EVP_PKEY *key;
};

/**
 * struct pki_spec - A certificate that is not quite as it should be
 * @san:	"URI:spiffe://master", NULL: none
 * @usage:	"clientAuth", NULL: no such extension
 * @expired, @not_yet: Wrong time
 */
struct pki_spec {
	const char *san;
	const char *usage;
	bool expired, not_yet;
};

struct pki_cert {
	X509 *cert;
	EVP_PKEY *key;
};

void pki_ca_new(struct pki_ca *ca, const char *name);
void pki_ca_free(struct pki_ca *ca);
void pki_cert_new(struct pki_cert *c, const struct pki_ca *ca,
		  const struct pki_spec *spec);
void pki_cert_free(struct pki_cert *c);

/* PEM in a descriptor, at its beginning. */
int pki_cert_fd(X509 *cert);
int pki_key_fd(EVP_PKEY *key);

#endif /* TESTS_FRONT_PKI_H */
