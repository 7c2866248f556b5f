#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_tls.sh - sandboxctl over mTLS: who it trusts, and who trusts it
. "${srcdir:-.}/tests/ctl/lib.sh"
command -v openssl >/dev/null || exit 77

# cert NAME SAN ISSUER
cert() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$dir/$1.key" -out "$dir/$1.csr" -subj "/CN=$1" 2>/dev/null
	printf 'subjectAltName=%s\n' "$2" >"$dir/$1.ext"
	openssl x509 -req -in "$dir/$1.csr" -CA "$dir/$3.crt" \
		-CAkey "$dir/$3.key" -CAcreateserial -days 2 \
		-extfile "$dir/$1.ext" -out "$dir/$1.crt" 2>/dev/null
}
for ca in ca other; do
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$dir/$ca.key" -out "$dir/$ca.crt" -days 2 \
		-subj "/CN=$ca" 2>/dev/null
done
cert node "IP:127.0.0.1" ca
cert client "URI:spiffe://test/ctl" ca
cert stranger "URI:spiffe://test/ctl" other
start_node "$dir/node.crt" "$dir/node.key" "$dir/ca.crt" "$dir/port"
port=$(cat "$dir/port")

# tls CERT CA ADDRESS ARG..
tls() {
	c=$1 a=$2 at=$3
	shift 3
	run --connect "$at" --cert "$dir/$c.crt" --key "$dir/$c.key" \
		--ca "$dir/$a.crt" "$@"
}
tls client ca "127.0.0.1:$port" exec sb_1 -- exit 4
check "mTLS works" exits 4
tls client other "127.0.0.1:$port" get sb_1
check "a node we do not trust: 3" exits 3
tls stranger ca "127.0.0.1:$port" get sb_1
check "a node that does not trust us: 3" exits 3
tls client ca "localhost:$port" get sb_1
check "a node of another name: 3" exits 3
tls client ca "127.0.0.1:1" get sb_1
check "nobody listens: 3" exits 3
run --connect "127.0.0.1:$port" --cert "$dir/client.crt" \
	--key "$dir/node.key" --ca "$dir/ca.crt" get sb_1
check "a key that does not fit: 3" exits 3
