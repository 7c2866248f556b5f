#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# emulated.sh - our code has no instruction that QEMU's emulation gets wrong
#
# QEMU's TCG (up to 7.2 at least) computes the flags within a SETcc and forgets
# where they came from. When its store then faults (a page that fork() made
# copy-on-write, or a fresh one), the instruction is begun again with the flags
# of long before: the byte is wrong, once. Compilers use SETcc to memory for
# "x->flag = f() > 0"; it made calls of the agent wait for ever, one in some
# hundred, after a fork. Conditions that one operation of the flags answers
# (e, ne, b, ae, s, ns), and all after a cmp, come out right.
#
# Only builds without instrumentation are looked at: those are what guests run.
set -eu

[ "$(uname -m)" = x86_64 ] || { echo "skipped: not x86-64"; exit 77; }
command -v objdump >/dev/null || { echo "skipped: no objdump"; exit 77; }
if nm sandbox-agent | grep -q __asan_init; then
	echo "skipped: sanitizers"
	exit 77
fi

looked=0
for lib in libagent.a libgrpc.a libproto.a; do
	[ -e "$lib" ] || { echo "there is no $lib here"; exit 1; }
	found=$(objdump -dr --no-show-raw-insn "$lib" | awk '
		/^[0-9a-f]+ <.*>:$/ { where = $2; before = "" }
		$2 ~ /^set(a|be|g|ge|l|le|o|no|p|np)$/ && /\(/ &&
			before !~ /^cmp/ { print where, $0 }
		$2 != "" { before = $2 }')
	if [ -n "$found" ]; then
		echo "$lib:"
		echo "$found"
		exit 1
	fi
	looked=$((looked + 1))
done
[ $looked -eq 3 ]
