/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-parcel: snapshots into streams and back
 *
 * usage: sandboxd-parcel pack|unpack --stream FD --control FD
 *			  [--uid UID --gid GID]
 *
 * The engine starts it for one stream, which anybody may have made. It holds
 * that and a SEQPACKET socket for parcel.proto's messages, and gets the files
 * that it reads or writes over the socket.
 */
#include "base/error.h"
#include "base/jail.h"
#include "base/str.h"
#include "parcel/pack.h"
#include "parcel/unpack.h"

#include <getopt.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* A window of 128 MiB, its tables, and tables of runs. */
#define MEMORY_MAX (1536ull << 20)
#define FILES_MAX  (PARCEL_FDS_MAX + 16)

struct options {
	bool pack;
	uint64_t stream, control, uid, gid;
};

static int usage(void)
{
	fprintf(stderr, "usage: sandboxd-parcel pack|unpack --stream FD "
			"--control FD [--uid UID --gid GID]\n");
	return -1;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "stream", required_argument, NULL, 's' },
		{ "control", required_argument, NULL, 'c' },
		{ "uid", required_argument, NULL, 'u' },
		{ "gid", required_argument, NULL, 'g' },
		{ NULL, 0, NULL, 0 },
	};
	int c, rc = 0;

	*o = (struct options){ .stream = UINT64_MAX, .control = UINT64_MAX };
	while (rc == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		uint64_t *to = c == 's'	  ? &o->stream
			       : c == 'c' ? &o->control
			       : c == 'u' ? &o->uid
			       : c == 'g' ? &o->gid
					  : NULL;

		rc = to ? str_parse_u64(optarg, UINT32_MAX - 1, to) : -1;
	}
	if (rc < 0 || optind + 1 != argc || o->stream > INT_MAX ||
	    o->control > INT_MAX)
		return usage();
	o->pack = strcmp(argv[optind], "pack") == 0;
	if (!o->pack && strcmp(argv[optind], "unpack") != 0)
		return usage();
	return 0;
}

static int jail(const struct options *o, struct error *err)
{
	struct jail_spec spec = { .uid = (uid_t)o->uid,
				  .gid = (gid_t)o->gid,
				  .files_max = FILES_MAX,
				  .memory_max = MEMORY_MAX };
	uint8_t md[EVP_MAX_MD_SIZE];

#if defined(__SANITIZE_ADDRESS__)
	spec.memory_max = 0; /* its shadow is terabytes of address space */
#endif
	/* libcrypto reads files when it is used first. */
	if (EVP_Digest("", 0, md, NULL, EVP_sha256(), NULL) != 1)
		return err_set(err, ERR_INTERNAL, "no SHA-256");
	return jail_enter(&spec, err);
}

#if defined(__SANITIZE_ADDRESS__)
/* The leak checker looks into /proc at exit, which a jail refuses: leaks are
 * looked for in test_parcel.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

int main(int argc, char **argv)
{
	struct parcel_control control = { .fd = -1 };
	struct error err = { 0 };
	struct options o;
	int rc;

	if (parse(argc, argv, &o) < 0)
		return 2;
	control.fd = (int)o.control;
	rc = jail(&o, &err);
	if (rc == 0)
		rc = (o.pack ? parcel_pack
			     : parcel_unpack)(&control, (int)o.stream, &err);
	if (rc < 0)
		parcel_control_failure(&control, &err);
	else
		parcel_control_done(&control);
	return rc < 0;
}
