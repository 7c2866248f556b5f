/* SPDX-License-Identifier: Apache-2.0 */
/* main_tls.c - what sandboxctl becomes for a node on another machine */
#include "ctl/ctl.h"
#include "ctl/dial.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv, &dial_tls);
}
