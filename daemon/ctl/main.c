/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxctl: a node's command line */
#include "ctl/ctl.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv, NULL);
}
