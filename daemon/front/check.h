/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - the limits that node.proto sets for fields, and P6's for guests'
 *
 * Each returns 0, or -1 with an ERR_INVALID that names @field. Pure.
 */
#ifndef FRONT_CHECK_H
#define FRONT_CHECK_H

#include "sandbox/node/v1/node.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define CHECK_PATH_MAX	  4095
#define CHECK_NAME_MAX	  255
#define CHECK_DATA_MAX	  (1u << 20) /* in one message of a stream */
#define CHECK_ARGV_MAX	  4096
#define CHECK_COMMAND_MAX (1u << 20) /* all of argv, or the command */

int check_sandbox_id(const char *s, struct error *err);
int check_range(uint64_t n, uint64_t min, uint64_t max, const char *field,
		struct error *err);
int check_path(const ProtobufCBinaryData *path, bool optional,
	       const char *field, struct error *err);
/* One component: no '/', no NUL, not "." or "..". */
int check_name(const ProtobufCBinaryData *name, const char *field,
	       struct error *err);
int check_bytes(const ProtobufCBinaryData *b, size_t max, bool nul_free,
		const char *field, struct error *err);
int check_user(const char *s, const char *field, struct error *err);
int check_pty(const Sandbox__Node__V1__PtySize *pty, struct error *err);
/* What a guest tells of a process's end. */
int check_exited(const Sandbox__Node__V1__ProcessExited *e, struct error *err);
int check_process(const Sandbox__Node__V1__ProcessSpec *p, struct error *err);

#endif /* FRONT_CHECK_H */
