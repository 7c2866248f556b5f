/* SPDX-License-Identifier: Apache-2.0 */
/* store_rows.h - what a row must be, in SQL
 *
 * For each table whose rows the daemon reads at its start: PLAIN_X, true of a row
 * that makes sense as far as it is not sealed; OPENS_X, of one of which the rest
 * does too (by functions of store_damaged.c; whoever reads the row unseals it anyway
 * and need not ask); and NAMED_X, of one whose key makes sense, so that there is an
 * object which its own method can remove. What is wrong with requests is in
 * store.c: no object hangs on them, and none is read at the start.
 */
#ifndef ENGINE_STORE_ROWS_H
#define ENGINE_STORE_ROWS_H

#include "engine/hv.h"
#include "engine/sandbox.h"
#include "engine/slot.h"

_Static_assert(SANDBOX_ID_MAX == 63 && OBJECT_ID_SIZE == 64, "below");
_Static_assert(HV_UUID_SIZE == 37 && SANDBOX_NONCE_LEN == 32, "below");
_Static_assert(SLOT_MAX == 8192 && SBX_STATE_COUNT == 9, "below");

/* clang-format off */

/* Of text that becomes the name of a file: from @min to @max characters. */
#define ROW_WORD(c, min, max)                                                  \
	"(typeof(" c ") = 'text' AND length(" c ") BETWEEN " min " AND "       \
	max " AND " c " NOT GLOB '*[^A-Za-z0-9._-]*' AND "                     \
	c " NOT IN ('.', '..'))"
#define ROW_UUID(c)                                                            \
	"(typeof(" c ") = 'text' AND length(" c ") = 36 AND "                  \
	c " NOT GLOB '*[^0-9a-f-]*')"
#define ROW_DIGEST(c)                                                          \
	"(typeof(" c ") = 'text' AND length(" c ") < 80 AND "                  \
	c " NOT GLOB '*[^A-Za-z0-9:_-]*')"
#define ROW_TEXT(c) "typeof(" c ") = 'text'"
#define ROW_INT(c)  "typeof(" c ") = 'integer'"
#define ROW_NUMBER(c, min, max)                                                \
	"(typeof(" c ") = 'integer' AND " c " BETWEEN " min " AND " max ")"
#define ROW_SIZE(c) ROW_NUMBER(c, "0", "9223372036854775807")
#define ROW_TIME(c) ROW_NUMBER(c, "1", "9223372036854775807")
#define ROW_U32(c)  ROW_NUMBER(c, "0", "4294967295")
#define ROW_PORT(c) ROW_NUMBER(c, "1", "65535")

#define NAMED_SANDBOX ROW_WORD("id", "1", "63")
#define OPENS_SANDBOX "opens(nonce, 32) AND is_spec(spec)"
#define PLAIN_SANDBOX                                                          \
	NAMED_SANDBOX " AND "                                                  \
	ROW_NUMBER("state", "1", "8") " AND "                                  \
	ROW_TEXT("reason") " AND "                                             \
	ROW_INT("generation") " AND "                                          \
	"(uuid = '' OR " ROW_UUID("uuid") ")" " AND "                          \
	ROW_NUMBER("slot", "-1", "8191") " AND "                               \
	ROW_DIGEST("image_digest") " AND "                                     \
	ROW_WORD("template_id", "0", "63") " AND "                             \
	ROW_WORD("snapshot_id", "0", "63") " AND "                             \
	ROW_WORD("next_snapshot", "0", "63") " AND "                           \
	ROW_TIME("created_ms") " AND "                                         \
	ROW_SIZE("started_ms") " AND "                                         \
	ROW_SIZE("paused_ms") " AND "                                          \
	ROW_SIZE("resumed_ms") " AND "                                         \
	ROW_SIZE("terminated_ms") " AND "                                      \
	ROW_SIZE("created_boot_ms") " AND "                                    \
	ROW_SIZE("run_ms") " AND "                                             \
	ROW_SIZE("runtime_ms") " AND "                                         \
	ROW_SIZE("cpu_ms") " AND "                                             \
	ROW_SIZE("busy_boot_ms") " AND "                                       \
	ROW_SIZE("run_boot_ms")

#define NAMED_SNAPSHOT                                                         \
	ROW_WORD("id", "6", "63") " AND id GLOB 'snap_*'"
#define OPENS_SNAPSHOT "opens(nonce, 32) AND is_spec(spec)"
#define PLAIN_SNAPSHOT                                                         \
	NAMED_SNAPSHOT " AND "                                                 \
	ROW_TEXT("name") " AND "                                               \
	ROW_TEXT("sandbox_id") " AND "                                         \
	ROW_NUMBER("internal", "0", "1") " AND "                               \
	ROW_DIGEST("image_digest") " AND "                                     \
	ROW_WORD("template_id", "0", "63") " AND "                             \
	ROW_INT("created_ms") " AND "                                          \
	ROW_SIZE("size_bytes")

#define NAMED_TEMPLATE                                                         \
	ROW_WORD("id", "5", "63")                                              \
	" AND (id GLOB 'tpl_*' OR id GLOB 'imp_*')"
#define OPENS_TEMPLATE "1"
#define PLAIN_TEMPLATE                                                         \
	NAMED_TEMPLATE " AND "                                                 \
	ROW_TEXT("image") " AND "                                              \
	ROW_DIGEST("image_digest") " AND "                                     \
	ROW_U32("cpu") " AND "                                                 \
	ROW_U32("memory_mib") " AND "                                          \
	ROW_U32("disk_mib") " AND "                                            \
	ROW_INT("created_ms") " AND "                                          \
	ROW_INT("used_ms") " AND "                                             \
	ROW_SIZE("size_bytes") " AND "                                         \
	ROW_NUMBER("bad", "0", "1") " AND "                                    \
	ROW_INT("asked_ms")

#define NAMED_CLONE ROW_UUID("uuid")
#define OPENS_CLONE "1"
#define PLAIN_CLONE                                                            \
	NAMED_CLONE " AND "                                                    \
	ROW_WORD("template_id", "1", "63") " AND "                             \
	ROW_NUMBER("slot", "-1", "8191")

#define NAMED_PORT "0"
#define OPENS_PORT "1"
#define PLAIN_PORT                                                             \
	ROW_WORD("sandbox_id", "1", "63") " AND "                              \
	ROW_PORT("port") " AND "                                               \
	ROW_PORT("host_port")

/* After a row's columns: whether it is plain, and whether it is named. */
#define ROW_JUDGED(x)                                                          \
	" *, (" PLAIN_##x ") IS TRUE, (" NAMED_##x ") IS TRUE "

/* clang-format on */

#endif /* ENGINE_STORE_ROWS_H */
