#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Crash points and faults, in namespaces that end with it: nothing is left on
# the host, whatever happens. Arguments: see run.py; --all is all of it.
src=$(cd "$(dirname "$0")" && pwd)
BUILD=${BUILD:-$(pwd)}
export BUILD PYTHONDONTWRITEBYTECODE=1
[ "$(id -u)" = 0 ] || { echo "not root: skipped"; exit 77; }
for tool in nft ip python3 unshare tar; do
	command -v $tool >/dev/null || { echo "no $tool: skipped"; exit 77; }
done
unshare -nmp true 2>/dev/null || { echo "no namespaces: skipped"; exit 77; }
[ -c /dev/net/tun ] || { echo "no /dev/net/tun: skipped"; exit 77; }
mkdir -p /run/netns
# The shell stays: it is the first process there, and waits for helpers whose
# engine was killed. Thousands of dead ones make every look at /proc slow.
exec unshare -nmp --fork --kill-child --mount-proc sh -c \
	'mount -t tmpfs none /run/netns && python3 "$@"; exit $?' sh \
	"$src/run.py" "$@"
