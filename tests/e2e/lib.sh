# shellcheck shell=bash
# lib.sh - for tests that drive a real node through sandboxctl
#
# A suite is a file X.sh that sources this, defines functions test_*, and ends
# with `run_tests`. A test fails when a command in it fails (set -e) or an
# expect_* does. It prints PASS, FAIL or SKIP and the test's name, one a line;
# what a failed test printed follows, indented.
#
# NODE_STATE names the state directory of a node that runs already (scripts/test
# shares one among the suites); without it a suite starts one and ends it.
# SANDBOXCTL is the client, E2E_IMAGE the image (debian:12).

set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
build=${SANDBOXD_BUILD:-$top/build}
ctl=${SANDBOXCTL:-$build/sandboxctl}
image=${E2E_IMAGE:-debian:12}
work=$(mktemp -d /tmp/e2e.XXXXXX)
own_node=

start_node() {
    if [ -z "${NODE_STATE:-}" ]; then
        own_node=1
        NODE_STATE=$work/node
        "$top/scripts/node" up --state "$NODE_STATE" "$@" >"$work/node.log" 2>&1 || {
            cat "$work/node.log"
            echo "FAIL node_starts: scripts/node up"
            exit 1
        }
    fi
    eval "$("$top/scripts/node" status --state "$NODE_STATE")"
    export SANDBOXD_CONNECT=$socket
}

# ---- other nodes, each with a state directory and a network namespace ----

netns=sbxe2e$$

# node_beside NAME COMMAND [OPTION..] - scripts/node for another node
node_beside() {
    local name=$1 command=$2
    shift 2
    ip netns exec "$netns$name" "$top/scripts/node" "$command" --state "$work/$name" "$@"
}

# start_beside NAME [OPTION..] - with kernel and images of this one
start_beside() {
    local name=$1
    shift
    chmod 0711 "$work" # guests' users reach their files below
    mkdir -p "$work/$name"
    (cd "$state" && cp -a --reflink=auto kernel images "$work/$name/")
    echo "$name" >>"$work/beside"
    ip netns add "$netns$name"
    ip netns exec "$netns$name" ip link set lo up
    node_beside "$name" up "$@" >"$work/$name.log" 2>&1 || {
        cat "$work/$name.log"
        return 1
    }
}

finish() {
    local name
    for name in $(cat "$work/beside" 2>/dev/null); do
        node_beside "$name" down >/dev/null 2>&1
        ip netns del "$netns$name" 2>/dev/null
    done
    for id in "${made[@]:-}"; do
        [ -z "$id" ] || "$ctl" terminate "$id" >/dev/null 2>&1
    done
    [ -z "$own_node" ] || "$top/scripts/node" down --state "$NODE_STATE" >/dev/null 2>&1
    rm -rf "$work"
}

# Sandboxes that tests of this suite made, ended with it.
made=()

# create [OPTION..] -> id in $id
create() {
    local idle=(--idle-timeout 30m) life=(--timeout 30m)
    case " $* " in *" --idle-timeout "*) idle=() ;; esac
    case " $* " in *" --timeout "*) life=() ;; esac
    id=$("$ctl" --json create --image "$image" "${life[@]}" "${idle[@]}" "$@" | json id)
    [ -n "$id" ]
    made+=("$id")
    echo "$id" >>"$work/made"
}

# json FIELD[.FIELD..] - of the object on stdin; empty when absent
json() {
    python3 -c '
import json, sys
v = json.load(sys.stdin)
for k in sys.argv[1].split("."):
    v = v[int(k)] if isinstance(v, list) else v.get(k, "")
print(v if not isinstance(v, (dict, list)) else json.dumps(v))' "$1"
}

# wait_for SECONDS COMMAND.. - until it succeeds
wait_for() {
    local until=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until" ] || {
            echo "not within its time: $*"
            return 1
        }
        read -rt 0.05 <> <(:) || :
    done
}

expect() { # WANT GOT
    [ "$1" = "$2" ] || {
        echo "want: $1"
        echo "got:  $2"
        return 1
    }
}

# refused CODE WORD COMMAND.. - exit 1, "CODE: ..." that has WORD in it
refused() {
    local code=$1 word=$2 out rc=0
    shift 2
    out=$("$@" 2>&1 >/dev/null) || rc=$?
    expect 1 "$rc" && case $out in
    *"$code: "*"$word"*) ;;
    *)
        echo "want: $code: ...$word..."
        echo "got:  $out"
        return 1
        ;;
    esac
}

state_of() {
    "$ctl" --json get "$1" | json state
}

skip() {
    echo "$*" >"$work/skip"
    exit 77
}

run_tests() {
    local name failed=0
    trap finish EXIT
    for name in $(declare -F | awk '$3 ~ /^test_/ {print $3}'); do
        [ $# -eq 0 ] || case " $* " in *" ${name#test_} "*) ;; *) continue ;; esac
        (set -e; "$name") >"$work/out" 2>&1
        case $? in
        0)
            echo "PASS ${name#test_}"
            grep '^# ' "$work/out" || :
            ;;
        77) echo "SKIP ${name#test_}: $(cat "$work/skip")" ;;
        *)
            failed=1
            echo "FAIL ${name#test_}"
            # What was expected stands first, a log's end last.
            { head -n 10 "$work/out"; tail -n +11 "$work/out" | tail -n 20; } | sed 's/^/    /'
            ;;
        esac
        # What the subshell made is ended here too.
        if [ -f "$work/made" ]; then
            mapfile -t made <"$work/made"
        fi
    done
    return $failed
}
