#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - clients that nobody here wrote against the gRPC layer
#
# usage: run.sh [BUILD-DIR]
#
# grpc-js, buf (lint, reflection, curl) and h2load. One line a case, PASS or
# FAIL and its name; the exit status says whether all passed. Modules are
# installed in BUILD-DIR/tests/interop by npm, from package-lock.json.
set -u

src=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-.}" && pwd)
work=$build/tests/interop
tmp=$(mktemp -d)
failed=0
pids=

at_exit()
{
	for pid in $pids; do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$tmp"
}
trap at_exit EXIT

die()
{
	echo "run.sh: $*" >&2
	exit 2
}

# verdict NAME STATUS
verdict()
{
	if [ "$2" -eq 0 ]; then
		echo "PASS $1"
	else
		echo "FAIL $1"
		failed=1
		[ -s "$tmp/out" ] && sed 's/^/    /' "$tmp/out" | head -20
	fi
}

# check NAME COMMAND..: passes when the command does
check()
{
	local name=$1
	shift
	"$@" > "$tmp/out" 2>&1
	verdict "$name" $?
}

# start NAME PROGRAM ARG..: a server; its addresses are then in $tmp/NAME.addr
start()
{
	local name=$1 program=$work/$2
	shift 2
	mkfifo "$tmp/$name.in"
	(cd "$build" && exec "$program" "$@") < "$tmp/$name.in" > "$tmp/$name.out" \
		2> "$tmp/$name.err" &
	pids="$pids $!"
	# Held open by this shell: the servers end with it.
	# shellcheck disable=SC2034
	exec {fd}> "$tmp/$name.in"
	for _ in $(seq 500); do
		if read -r _ addr < "$tmp/$name.out"; then
			echo "$addr" > "$tmp/$name.addr"
			return
		fi
		sleep 0.01
	done
	die "no server: $(cat "$tmp/$name.err")"
}

ca()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-days 2 -subj "/CN=$1" -keyout "$tmp/$1.key" \
		-out "$tmp/$1.pem" 2>/dev/null
}

# leaf NAME CA USAGE
leaf()
{
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-subj "/CN=$1" -keyout "$tmp/$1.key" -out "$tmp/$1.csr" \
		2>/dev/null &&
	openssl x509 -req -in "$tmp/$1.csr" -CA "$tmp/$2.pem" \
		-CAkey "$tmp/$2.key" -CAcreateserial -days 2 \
		-extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1"
			echo "extendedKeyUsage=$3") \
		-out "$tmp/$1.pem" 2>/dev/null
}

for program in echo_server front_server; do
	[ -x "$work/$program" ] || die "no $program: make interop"
done
cp "$src/package.json" "$src/package-lock.json" "$work/"
if ! cmp -s "$work/package-lock.json" "$work/node_modules/.installed"; then
	# Not "ci": that wants buf's binaries for every platform in the lock.
	(cd "$work" && npm install --no-save --ignore-scripts --no-audit \
		--no-fund) \
		> "$tmp/npm" 2>&1 || die "npm: $(tail -n 3 "$tmp/npm")"
	cp "$work/package-lock.json" "$work/node_modules/.installed"
fi
buf=$work/node_modules/.bin/buf
export BUF_CACHE_DIR=$tmp/buf

if ! { ca ca && ca otherca && leaf server ca serverAuth &&
       leaf client ca clientAuth && leaf other otherca clientAuth; }; then
	die "openssl makes no certificates"
fi
start unix echo_server "unix:$tmp/s"
start plain echo_server tcp
start tls echo_server tcp "$tmp/server.pem" "$tmp/server.key" "$tmp/ca.pem"
start front front_server "$tmp/server.pem" "$tmp/server.key" "$tmp/ca.pem"
read -r front front_tls < "$tmp/front.addr"
plain=$(cat "$tmp/plain.addr")
tls=$(cat "$tmp/tls.addr")

# ---- grpc-js, over a unix socket and TLS ----
(cd "$work" && node "$src/interop.js" "unix:$tmp/s" "$tls" "$tmp") || failed=1
(cd "$work" && node "$src/front.js" "$front" "$front_tls" "$tmp") || failed=1

# ---- buf ----
check buf_lint_is_clean "$buf" lint "$src/../../proto"

# finds PATTERN ARG..: what `buf curl ARG..` says has a line with PATTERN
finds()
{
	local pattern=$1
	shift
	"$buf" curl --protocol grpc "$@" > "$tmp/curl" 2>&1
	cat "$tmp/curl"
	grep -q "$pattern" "$tmp/curl"
}
health=grpc.health.v1.Health

check reflection_lists_the_services finds '^sandbox.node.v1.NodeService$' \
	--http2-prior-knowledge --list-services "http://$plain"
check reflection_lists_the_methods finds '^sandbox.node.v1.NodeService/Exec$' \
	--http2-prior-knowledge --list-methods "http://$plain"
check reflection_v1alpha_too finds SERVING --http2-prior-knowledge \
	--reflect-protocol grpc-v1alpha -d '{}' "http://$plain/$health/Check"
check a_call_by_reflection finds SERVING --http2-prior-knowledge -d '{}' \
	"http://$plain/$health/Check"
check an_error_by_reflection finds not_found --http2-prior-knowledge \
	-d '{"service":"x"}' "http://$plain/$health/Check"
check a_call_by_reflection_over_mutual_tls finds SERVING \
	--cacert "$tmp/ca.pem" --cert "$tmp/client.pem" \
	--key "$tmp/client.key" -d '{}' \
	"https://localhost:${tls##*:}/$health/Check"

check front_shows_its_api finds '^sandbox.node.v1.NodeService$' \
	--http2-prior-knowledge --unix-socket "$front" --list-services \
	http://localhost
check front_is_called_by_reflection finds '^{' --http2-prior-knowledge \
	--unix-socket "$front" -d '{}' \
	http://localhost/sandbox.node.v1.NodeService/GetNode

# ---- h2load ----
# One StringValue "hello", prefix and all.
printf '\0\0\0\0\7\12\5hello' > "$tmp/body"
h2load -n 20000 -c 8 -m 20 -d "$tmp/body" -H 'content-type: application/grpc' \
	-H 'te: trailers' "http://$plain/sandbox.interop.v1.EchoService/Echo" \
	> "$tmp/out" 2>&1
grep -q '20000 succeeded, 0 failed' "$tmp/out"
verdict h2load_20000_calls $?
grep '^finished' "$tmp/out"

printf '\0\0\0\0\0' > "$tmp/body"
h2load -n 5000 -c 4 -m 20 -d "$tmp/body" -H 'content-type: application/grpc' \
	-H 'te: trailers' --base-uri="unix:$front" \
	"http://localhost/sandbox.node.v1.NodeService/GetNode" > "$tmp/out" 2>&1
grep -q '5000 succeeded, 0 failed' "$tmp/out"
verdict h2load_5000_calls_through_front $?
grep '^finished' "$tmp/out"

# What is not gRPC is told so in HTTP.
code=$(curl -s -o /dev/null -w '%{http_code}' --http2-prior-knowledge \
	-d x "http://$plain/sandbox.interop.v1.EchoService/Echo")
[ "$code" = 415 ]
verdict another_content_type_is_415 $?
code=$(curl -s -o /dev/null -w '%{http_code}' --http2-prior-knowledge \
	"http://$plain/")
[ "$code" = 405 ]
verdict a_get_is_405 $?

died=0
for pid in $pids; do
	kill -0 "$pid" 2>/dev/null || died=1
done
verdict no_server_died $died
exit $failed
