/* SPDX-License-Identifier: Apache-2.0 */
/* identity.h - what Configure gives a guest, and who may ask (Hello) */
#ifndef AGENT_IDENTITY_H
#define AGENT_IDENTITY_H

struct agent;

/* What holds before the first Configure. */
void identity_init(struct agent *agent, const char *workdir);
void identity_fini(struct agent *agent);

#endif /* AGENT_IDENTITY_H */
