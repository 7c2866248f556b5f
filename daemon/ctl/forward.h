/* SPDX-License-Identifier: Apache-2.0 */
/* forward.h - a local port whose connections go on in a sandbox */
#ifndef CTL_FORWARD_H
#define CTL_FORWARD_H

#include <stdint.h>

struct ctl;

/**
 * forward_run() - Listen on 127.0.0.1:@local until interrupted
 * @local:	0: any free port; the address is printed
 * @remote:	Port on the guest's own localhost
 *
 * Return: the exit status; an interrupt is the good end
 */
int forward_run(struct ctl *ctl, const char *sandbox_id, uint16_t local,
		uint32_t remote);

#endif /* CTL_FORWARD_H */
