#!/bin/bash
# libvirt.sh - libvirtd is killed again and again while sandboxes come and go,
# and hangs for a while: nothing is lost, and nothing is left
#
# E2E_LIBVIRT: how often it is killed (3 by default; 100 takes some 15 minutes
# under emulation). What was measured is printed as lines "# ...".
. "$(dirname "$0")/lib.sh"
kills=${E2E_LIBVIRT:-3}
workers=2
start_node

private() { "$top/scripts/private-libvirtd" "$1" "$NODE_STATE/libvirt"; }
libvirtd_pid() { cat "$NODE_STATE/libvirt/libvirtd.pid"; }
only_private() { [ -f "$NODE_STATE/libvirt/libvirtd.pid" ] || skip "libvirtd is the system's here"; }

let_pass() { read -rt "$1" <> <(:) || :; }

# ends_in MILLISECONDS COMMAND.. - and how long it took, in $took
ends_in() {
    local began limit=$1
    shift
    began=$(date +%s%N)
    "$@" || return 1
    took=$((($(date +%s%N) - began) / 1000000))
    [ "$took" -le "$limit" ] || {
        echo "took $took ms, not $limit: $*"
        return 1
    }
}

# ---- the load ----

# A client that does not give up while libvirt is away, for a minute.
patient() {
    local until=$((SECONDS + 60)) out
    until out=$("$ctl" "$@" 2>&1); do
        case $out in
        *ALREADY_EXISTS*) break ;;
        *INVALID_STATE*TERMINATED*) # its answer was lost, or it was
            [ "$1" = terminate ] && break
            echo "$*: $out" >&2
            return 1
            ;;
        esac
        [ $SECONDS -lt $until ] || {
            echo "$*: $out" >&2
            return 1
        }
        let_pass 0.2
    done
    echo "$out"
}

# One life after another until told to stop: what was written before the pause
# is read after it.
worker() {
    local n=0 box
    while [ ! -e "$work/stop" ]; do
        box=libvirt-$$-$1-$n
        patient create --id "$box" --image "$image" --memory 2048 --timeout 30m --idle-timeout 30m >/dev/null || return 1
        patient exec "$box" -- sh -c "echo $box >/dev/shm/f" >/dev/null || return 1
        patient pause "$box" >/dev/null || return 1
        [ "$(patient exec "$box" -- cat /dev/shm/f)" = "$box" ] || {
            echo "$box has lost its memory: $("$ctl" --json get "$box")"
            return 1
        }
        patient terminate "$box" >/dev/null || return 1
        n=$((n + 1))
        echo "$n" >"$work/lives.$1"
    done
}

end_workers() {
    touch "$work/stop"
    wait "$@"
}

# ---- what is there ----

guests() { virsh -q -c "$libvirt_uri" list --uuid | grep . | sort; }
directories() { find "$NODE_STATE/guests" -mindepth 1 -maxdepth 1 ! -name '.*' -printf '%f\n' | sort; }

# A guest for each that runs or waits in the pool, and no more, by all accounts.
consistent() {
    local want have
    want=$("$ctl" --json list --limit 100 | python3 -c '
import json, sys
print(sum(s["state"] == "SANDBOX_STATE_RUNNING" for s in json.load(sys.stdin)))')
    want=$((want + $("$ctl" --json node | json poolReady | grep -x '[0-9]*' || echo 0)))
    have=$(guests)
    [ "$(grep -c . <<<"$have")" = "$want" ] && [ "$have" = "$(directories)" ] &&
        [ "$(pgrep -cf "qemu-system.*$NODE_STATE/guests/")" = "$want" ]
}

test_libvirtd_killed_under_load_loses_and_leaves_nothing() {
    only_private
    local i pids=() began lives rc=0 idle running
    create --memory 2048
    running=$id
    "$ctl" exec "$running" -- sh -c 'echo kept >/dev/shm/f'
    create --memory 2048
    idle=$id
    "$ctl" exec "$idle" -- sh -c 'echo kept >/dev/shm/f'
    "$ctl" pause "$idle" >/dev/null
    for i in $(seq $workers); do
        worker "$i" >"$work/worker.$i" 2>&1 &
        pids+=($!)
    done
    began=$SECONDS
    for i in $(seq "$kills"); do
        # Somewhere else in what they do each time.
        let_pass "$((RANDOM % 4)).$((RANDOM % 10))"
        kill -KILL "$(libvirtd_pid)"
        let_pass "$((RANDOM % 2)).$((RANDOM % 10))"
        private start >/dev/null
        kill -0 "${pids[@]}" || break
    done
    end_workers "${pids[@]}" || rc=1
    cat "$work"/worker.*
    expect 0 $rc
    lives=$(cat "$work"/lives.* | awk '{ n += $1 } END { print n + 0 }')
    echo "# libvirtd killed $kills times in $((SECONDS - began)) s, $lives sandboxes lived through it"
    expect kept "$(patient exec "$running" -- cat /dev/shm/f)"
    expect kept "$(patient exec "$idle" -- cat /dev/shm/f)"
    "$ctl" terminate "$running" >/dev/null
    "$ctl" terminate "$idle" >/dev/null
    wait_for 30 consistent || {
        echo "guests: $(guests | xargs); directories: $(directories | xargs)"
        "$ctl" list
        return 1
    }
    "$ctl" fsck
}

# Nothing but what needs libvirt waits for it.
test_with_libvirtd_hung_others_are_answered_at_once() {
    only_private
    local hung rc=0 well
    create --memory 2048
    well=$id
    create --memory 2048
    hung=$(libvirtd_pid)
    kill -STOP "$hung"
    {
        ends_in 1500 "$ctl" list >/dev/null && echo "# libvirtd hangs: list in $took ms" &&
            ends_in 1500 "$ctl" get "$well" >/dev/null && echo "# get in $took ms" &&
            ends_in 5000 "$ctl" exec "$well" -- true && echo "# exec in $took ms" &&
            ends_in 6500 "$ctl" --json terminate "$id" >"$work/told" &&
            echo "# terminate in $took ms: $(json state <"$work/told") ($(json stateReason <"$work/told"))" &&
            grep -q libvirt "$work/told"
        ends_in 1500 "$ctl" get "$well" >/dev/null
    } || rc=1
    kill -CONT "$hung"
    expect 0 $rc
    wait_for 30 sh -c "'$ctl' --json get '$id' | grep -q STATE_TERMINATED"
    "$ctl" exec "$well" -- true
    "$ctl" terminate "$well" >/dev/null
    wait_for 30 consistent
}

run_tests "$@"
