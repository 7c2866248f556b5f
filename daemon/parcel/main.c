/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-parcel: snapshots into streams and back
 *
 * The engine starts `sandboxd-parcel UID GID pack|unpack` for one stream, which
 * anybody may have made. It holds that as descriptor 3 and a SEQPACKET socket
 * for parcel.proto's messages as 4, and gets the files that it reads or writes
 * over the socket.
 */
#include "base/error.h"
#include "base/jail.h"
#include "parcel/pack.h"
#include "parcel/unpack.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* A window of 128 MiB, its tables, and tables of runs. */
#define MEMORY_MAX (1536ull << 20)
#define FILES_MAX  (PARCEL_FDS_MAX + 16)

enum { STREAM_FD = 3, CONTROL_FD };

static int jail(struct jail_spec *spec, struct error *err)
{
	uint8_t md[EVP_MAX_MD_SIZE];

	/* libcrypto reads files when it is used first. */
	if (EVP_Digest("", 0, md, NULL, EVP_sha256(), NULL) != 1)
		return err_set(err, ERR_INTERNAL, "no SHA-256");
	return jail_enter(spec, err);
}

int main(int argc, char **argv)
{
	struct jail_spec spec = { .files_max = FILES_MAX,
				  .memory_max = MEMORY_MAX };
	struct parcel_control control = { .fd = CONTROL_FD };
	struct error err = { 0 };
	bool pack = argc == 4 && strcmp(argv[3], "pack") == 0;
	int rc;

	if (argc != 4 || (!pack && strcmp(argv[3], "unpack") != 0) ||
	    jail_set_user(&spec, argv[1], argv[2]) < 0) {
		fputs("sandboxd-parcel is started by sandboxd\n", stderr);
		return 2;
	}
	rc = jail(&spec, &err);
	if (rc == 0)
		rc = (pack ? parcel_pack : parcel_unpack)(&control, STREAM_FD,
							  &err);
	if (rc < 0)
		parcel_control_failure(&control, &err);
	else
		parcel_control_done(&control);
	return rc < 0;
}
