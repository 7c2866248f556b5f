/* SPDX-License-Identifier: Apache-2.0 */
/* spec_check.h - is what a client asks for within the contract
 *
 * Pure: the same request gives the same answer on every node. Whether the
 * image exists and there is room is asked elsewhere. Errors name the field as
 * node.proto does ("resources.memory_mib", "egress.allow[3].target") and say
 * what is allowed.
 */
#ifndef ENGINE_SPEC_CHECK_H
#define ENGINE_SPEC_CHECK_H

#include "engine/net.h"
#include "engine/pb.h"

#include <stdbool.h>

struct error;
struct image;

#define SPEC_TIMEOUT_MIN  1000u
#define SPEC_TIMEOUT_MAX  86400000u
#define SPEC_DISK_MIN_MIB     5120u
#define SPEC_DISK_DEFAULT_MIB 10240u
#define SPEC_DISK_MAX_MIB     51200u
#define SPEC_ENV_MAX	  256
#define SPEC_ENV_BYTES	  65536
#define SPEC_METADATA_MAX 20
#define SPEC_PORTS_MAX	  64

bool spec_is_sandbox_id(const char *id);
bool spec_is_request_id(const char *id);
bool spec_is_label(const char *s); /* 1-64 of [A-Za-z0-9._-] */

/* Also fills in, in the request itself, the defaults that need no image. */
int spec_check_create(Spec *spec, struct error *err);

/* The image's env (the client's wins), workdir and its own name, which an
 * alias may have stood for. The client's is refused when its disk is too small
 * for the image.
 */
int spec_complete(Spec *spec, const struct image *image, struct error *err);

int spec_check_update(const PbUpdate *update, struct error *err);

/* To be freed with net_policy_fini(). NULL: allow all, as the contract says. */
int spec_policy(const PbEgress *egress, struct net_policy *ret,
		struct error *err);
struct net_limits spec_limits(const PbLimits *limits,
			      const struct net_limits *defaults);

/* A copy, by way of its packed form. */
Spec *spec_copy(const Spec *spec);

#endif /* ENGINE_SPEC_CHECK_H */
