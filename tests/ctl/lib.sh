# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# lib.sh - sourced by the tests of sandboxctl: a fake node and checks
#
# $top_builddir is where the programs are (make check runs there).
set -u
builddir=${top_builddir:-$PWD}
ctl=$builddir/sandboxctl
dir=$(mktemp -d)
root=$dir/root
mkdir "$root"
FAKE_OUTSIDE=$dir/outside
mkdir "$FAKE_OUTSIDE"
export FAKE_OUTSIDE
export SANDBOXD_CONNECT=unix:$dir/node.sock
failed=0
passed=0
node=

finish() {
	[ -z "$node" ] || kill "$node" 2>/dev/null
	rm -rf "$dir"
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ] || exit 1
}
trap finish EXIT

# wait_for CONDITION..: until it holds, 10 s at most
wait_for() {
	for _ in $(seq 200); do
		"$@" && return 0
		sleep 0.05
	done
	echo "waited in vain for: $*" >&2
	return 1
}

start_node() {
	rm -f "$dir/node.sock"
	: >"$dir/node.out" # of another, before
	"$builddir/tests/ctl/fake_node" "$dir/node.sock" "$root" "$@" \
		>"$dir/node.out" &
	node=$!
	wait_for grep -qs ready "$dir/node.out"
}

# run ARG..: sandboxctl, its output in $out, $err, $status
run() {
	"$ctl" "$@" >"$dir/out" 2>"$dir/err"
	status=$?
	out=$(cat "$dir/out")
	err=$(cat "$dir/err")
}

# check WHAT COMMAND..
check() {
	what=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $what" >&2
		echo "  status ${status-}, out: ${out-}, err: ${err-}" >&2
	fi
}

exits() { [ "$status" = "$1" ]; }
prints() { [ "$out" = "$1" ]; }
says() { case $err in *"$1"*) ;; *) return 1 ;; esac; }
contains() { case $out in *"$1"*) ;; *) return 1 ;; esac; }
