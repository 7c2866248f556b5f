#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The network with real taps and nftables, in namespaces that end with it.
# usage: run.sh [--list] [--break] [--no-break] [PATTERN]..
#
# --speed [SECONDS] measures instead of testing.
#
# Patterns choose tests: tests/net/run.sh 'n0*'. Each test is also run with the
# rule that it is about taken out, and must then fail; --break: only those that
# have such a rule; --no-break: without that. RACES, FLOOD: how many (2000, 30000).
src=$(cd "$(dirname "$0")" && pwd)
BUILD=${BUILD:-$(pwd)}
export BUILD PYTHONDONTWRITEBYTECODE=1
[ "$(id -u)" = 0 ] || { echo "not root: skipped"; exit 77; }
for tool in nft ip python3 unshare; do
	command -v $tool >/dev/null || { echo "no $tool: skipped"; exit 77; }
done
unshare -nmp true 2>/dev/null || { echo "no namespaces: skipped"; exit 77; }
[ -c /dev/net/tun ] || { echo "no /dev/net/tun: skipped"; exit 77; }
script=harness.py
if [ "$1" = --speed ]; then
	script=speed.py
	shift
fi
exec unshare -nmp --fork --kill-child --mount-proc python3 "$src/$script" "$@"
