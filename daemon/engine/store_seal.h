/* SPDX-License-Identifier: Apache-2.0 */
/* store_seal.h - what of the database is secret, sealed with the node's key
 *
 * Env of sandboxes and the nonces shared with agents are needed to start guests
 * again, so they are kept; sealed, so that a copy of the database (a backup, a
 * dump sent to somebody) does not tell them. The key is a file of its own
 * beside the database, 0600. Whoever has both has the secrets.
 */
#ifndef ENGINE_STORE_SEAL_H
#define ENGINE_STORE_SEAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct seal;

#define SEAL_KEY_FILE "node.key"
#define SEAL_KEY_LEN  32

/**
 * seal_open() - Read the key beside the database @path
 * @make:	Make one when there is none: nothing was sealed yet
 */
int seal_open(const char *path, bool make, struct seal **ret,
	      struct error *err);
struct seal *seal_close(struct seal *seal);

/* The SQL function seal(BLOB), for statements that write. */
int seal_register(struct seal *seal, sqlite3 *db);

/**
 * seal_take() - What was sealed, in clear
 * @data, @len:	As it is in the database
 *
 * Return: a copy, the caller's to free; NULL: it does not open with this key, or
 * was not sealed
 */
uint8_t *seal_take(const struct seal *seal, const void *data, size_t len,
		   size_t *ret_len);

#endif /* ENGINE_STORE_SEAL_H */
