#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_packaging.sh - man pages name every key and command; units are sound
srcdir=${srcdir:-.}
builddir=${top_builddir:-$PWD}
failed=0
passed=0
check() {
	what=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $what" >&2
	fi
}

# has SECTION KEY: sandboxd.conf.5 has the key in that section
has() {
	awk -v s=".Ss [$1]" -v k=".It Cm $2 No" '
		/^\.Ss/ { on = ($0 == s) }
		on && index($0, k) == 1 { found = 1 }
		END { exit !found }' "$srcdir/packaging/sandboxd.conf.5"
}
sed -n 's/^	{ "\([a-z]*\)", "\([a-z_]*\)",.*T_.*/\1 \2/p' \
	"$srcdir/daemon/engine/config.c" >keys.$$
check "config.c has keys" [ "$(wc -l <keys.$$)" -gt 40 ]
while read -r section key; do
	check "sandboxd.conf.5: [$section] $key" has "$section" "$key"
done <keys.$$
rm -f keys.$$

documented() {
	# shellcheck disable=SC2086
	grep -qE "(^|, )(\.It )?Cm $1( |$)|, Cm $1( |$)|Oc , Cm $1( |$)" \
		"$srcdir/packaging/sandboxctl.1"
}
"$builddir/sandboxctl" --help | awk '/^  [a-z]/ {
	name = substr($0, 3, 17); sub(/ +$/, "", name); print name }' >names.$$
check "there are commands" [ "$(wc -l <names.$$)" -gt 30 ]
while read -r name; do
	check "sandboxctl.1: $name" documented "$name"
done <names.$$
rm -f names.$$

# Its libraries take longer to load than a short command takes.
loads() { objdump -p "$builddir/$1" | grep -q 'NEEDED.*libssl'; }
if command -v objdump >/dev/null; then
	check "sandboxctl does without OpenSSL" eval '! loads sandboxctl'
	check "what it becomes for another node does not" loads sandboxctl-tls
fi

# Completion asks the program; here with one that knows no node.
complete_words() {
	PATH=$builddir:$PATH SANDBOXD_CONNECT=unix:/nonexistent bash -c '
		. "$1"; shift
		COMP_WORDS=(sandboxctl "$@")
		COMP_CWORD=$#
		compopt() { :; }
		_sandboxctl
		printf "%s\n" "${COMPREPLY[@]}"' - \
		"$srcdir/packaging/sandboxctl.bash" "$@"
}
completes() {
	want=$1
	shift
	complete_words "$@" | grep -qxe "$want"
}
check "completes commands" completes terminate ter
check "completes second words" completes forward port f
check "completes options" completes --idle-timeout create --idle
check "completes global options" completes --connect --conn

if command -v systemd-analyze >/dev/null &&
	[ -f "$builddir/packaging/sandboxd.service" ]; then
	# The program is not installed where the unit says: only that may be said.
	said=$(systemd-analyze verify --man=no --recursive-errors=no \
		"$builddir/packaging/sandboxd.service" 2>&1 |
		grep 'sandboxd.service' | grep -v 'is not executable')
	check "the unit is sound: $said" [ -z "$said" ]
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
