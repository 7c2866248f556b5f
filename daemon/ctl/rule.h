/* SPDX-License-Identifier: Apache-2.0 */
/* rule.h - egress rules as people write them
 *
 *	TARGET[:PORT[-PORT][,PORT[-PORT]]..][/tcp|/udp|/any]
 *
 * TARGET is a name, "*.name", an IPv4 address or network ("10.0.0.0/8").
 */
#ifndef CTL_RULE_H
#define CTL_RULE_H

#include "ctl/pb.h"

struct error;

/**
 * rule_parse() - One rule
 * @ret:	Made on the heap; protobuf-c's free functions may free it
 *
 * What the node checks in any case (names, networks) is left to it.
 */
int rule_parse(const char *text, NODE(EgressRule) * *ret, struct error *err);

NODE(EgressRule) * rule_free(NODE(EgressRule) * rule);

/* As rule_parse() reads it; the caller's to free. */
char *rule_format(const NODE(EgressRule) * rule);

#endif /* CTL_RULE_H */
