/* SPDX-License-Identifier: Apache-2.0 */
/* front_pki.c - certificates made on the spot, good ones and bad ones */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_pki.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define DAY 86400L

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *certificate(const char *name, EVP_PKEY *key, X509_NAME *issuer,
			 long begin, long end)
{
	static long serial;
	X509 *cert = X509_new();

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), begin);
	X509_gmtime_adj(X509_getm_notAfter(cert), end);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN",
				   MBSTRING_ASC, (const unsigned char *)name,
				   -1, -1, 0);
	X509_set_issuer_name(cert,
			     issuer ? issuer : X509_get_subject_name(cert));
	X509_set_pubkey(cert, key);
	return cert;
}

void pki_ca_new(struct pki_ca *ca, const char *name)
{
	ca->key = EVP_EC_gen("P-256");
	ca->cert = certificate(name, ca->key, NULL, -DAY, DAY);
	extend(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
	extend(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign");
	X509_sign(ca->cert, ca->key, EVP_sha256());
}

void pki_ca_free(struct pki_ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

void pki_cert_new(struct pki_cert *c, const struct pki_ca *ca,
		  const struct pki_spec *spec)
{
	static unsigned int number;
	char name[32];
	long begin = spec->not_yet ? DAY / 2 : -DAY / 2;
	long end = spec->expired ? -60 : DAY / 2 + 60;

	c->key = EVP_EC_gen("P-256");
	snprintf(name, sizeof(name), "leaf %u", ++number);
	c->cert = certificate(name, c->key, X509_get_subject_name(ca->cert),
			      begin, end);
	extend(c->cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
	if (spec->san)
		extend(c->cert, ca->cert, NID_subject_alt_name, spec->san);
	if (spec->usage)
		extend(c->cert, ca->cert, NID_ext_key_usage, spec->usage);
	X509_sign(c->cert, ca->key, EVP_sha256());
}

void pki_cert_free(struct pki_cert *c)
{
	X509_free(c->cert);
	EVP_PKEY_free(c->key);
}

static int in_memory(BIO *bio)
{
	int fd = memfd_create("pem", MFD_CLOEXEC);
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	assert_int_equal(write(fd, data, (size_t)len), len);
	BIO_free(bio);
	return fd;
}

int pki_cert_fd(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, cert);
	return in_memory(bio);
}

int pki_key_fd(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	return in_memory(bio);
}
