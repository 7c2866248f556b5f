#!/bin/bash
# restart.sh - the daemon and its parts are killed; sandboxes go on
. "$(dirname "$0")/lib.sh"
start_node

node_status() { eval "$("$top/scripts/node" status --state "$NODE_STATE")"; }

test_a_killed_front_is_replaced_and_the_next_call_works() {
    create --memory 2048
    node_status
    "$ctl" exec "$id" -- sleep 1000 &
    local client=$!
    wait_for 10 sh -c "'$ctl' --json ps '$id' | grep -q RUNNING"
    kill -KILL "$front_pid"
    wait $client || :
    wait_for 20 "$ctl" exec "$id" -- true
    "$ctl" --json ps "$id" | grep -q RUNNING
}

test_sandboxes_survive_a_killed_daemon() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo kept >/dev/shm/f'
    node_status
    kill -KILL "$pid"
    "$top/scripts/node" restart --state "$NODE_STATE" >/dev/null 2>&1
    node_status
    wait_for 30 sh -c "'$ctl' --json get '$id' | grep -q RUNNING"
    expect kept "$("$ctl" cat "$id" /dev/shm/f)"
}

test_a_paused_sandbox_survives_a_killed_daemon() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo kept >/root/f'
    "$ctl" pause "$id" >/dev/null
    node_status
    kill -KILL "$pid"
    "$top/scripts/node" restart --state "$NODE_STATE" >/dev/null 2>&1
    node_status
    expect kept "$("$ctl" exec "$id" -- cat /root/f)"
}

# has_clone WANT OLD - one of a template that is OLD (same), or another of its size
# and image (other)
has_clone() {
    "$ctl" --json template list | python3 -c '
import json, sys
all = json.load(sys.stdin)
what = lambda t: (t["image"], t["memoryMib"])
like = [what(t) for t in all if t["id"] == sys.argv[2]]
sys.exit(not any(t.get("poolReady") and what(t) in like and
                 (t["id"] == sys.argv[2]) == (sys.argv[1] == "same") for t in all))' "$1" "$2"
}

test_another_kernel_has_template_and_clones_before_anybody_asks() {
    local version=$state/kernel/version old rc=0
    "$ctl" --json node | grep -q '"snapshotMechanism": *"clone"' || skip "this node clones no guests"
    create --memory 2048
    old=$("$ctl" --json get "$id" | json template)
    wait_for 60 has_clone same "$old"
    cp -p "$version" "$work/version"
    {
        sed 1s/$/-e2e/ "$work/version" >"$version" && touch -r "$work/version" "$version" &&
            "$top/scripts/node" restart --state "$NODE_STATE" >/dev/null 2>&1 &&
            wait_for 90 has_clone other "$old" && ! has_clone same "$old"
    } || rc=1
    create --memory 2048
    expect pool "$("$ctl" --json get "$id" | json startKind)" || rc=2
    [ "$("$ctl" --json get "$id" | json template)" != "$old" ] || rc=3
    expect well "$("$ctl" exec "$id" -- echo well)" || rc=4
    # And back, to what is there.
    cp -p "$work/version" "$version"
    "$top/scripts/node" restart --state "$NODE_STATE" >/dev/null 2>&1
    node_status
    wait_for 60 has_clone same "$old" || rc=5
    ! has_clone other "$old" || rc=6
    expect 0 "$rc"
}

# As `systemctl reload` does it.
test_a_reload_takes_what_may_change_and_refuses_what_is_wrong() {
    local conf=$NODE_STATE/sandboxd.conf.d/90-e2e.conf rc=0
    label() { "$ctl" --json node | json labels.e2e; }
    node_status
    mkdir -p "${conf%/*}"
    printf '[node]\nlabel.e2e = one\n' >"$conf"
    kill -HUP "$pid"
    wait_for 10 sh -c "'$ctl' --json node | grep -q '\"e2e\": *\"one\"'" || rc=1
    printf '[node]\nlabel.e2e = two\nno_such_key = 1\n' >"$conf"
    kill -HUP "$pid"
    wait_for 10 grep -q 'stays as it was.*no_such_key' "$NODE_STATE/log" || rc=2
    expect one "$(label)" || rc=3
    rm -f "$conf"
    kill -HUP "$pid"
    wait_for 10 sh -c "! '$ctl' --json node | grep -q '\"e2e\"'" || rc=4
    expect "$pid" "$(cat "$NODE_STATE/run/sandboxd.pid")" || rc=5
    expect 0 "$rc"
}

# What systemd hears of it.
test_the_service_manager_is_told_of_start_life_and_end() {
    local ear rc=0
    create --memory 2048
    python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode().replace("\n", " "), flush=True)' "$work/notify" >"$work/heard" &
    ear=$!
    wait_for 10 test -S "$work/notify"
    NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=2000000 \
        "$top/scripts/node" restart --state "$NODE_STATE" >/dev/null 2>&1
    node_status
    wait_for 10 grep -q READY=1 "$work/heard" || rc=1
    # Twice after the one that comes with READY.
    wait_for 10 sh -c "[ \$(grep -c '^WATCHDOG=1' '$work/heard') -ge 2 ]" || rc=2
    kill -HUP "$pid"
    wait_for 10 grep -q RELOADING=1 "$work/heard" || rc=3
    # It hands its guests over, in time.
    kill -TERM "$pid"
    wait_for 20 sh -c "! kill -0 $pid 2>/dev/null" || rc=4
    grep -q STOPPING=1 "$work/heard" || rc=5
    kill "$ear"
    "$top/scripts/node" restart --state "$NODE_STATE" >/dev/null 2>&1
    node_status
    wait_for 30 "$ctl" exec "$id" -- true || rc=6
    cat "$work/heard"
    expect 0 "$rc"
}

# fsck_off [OPTION..] - while no daemon runs; its report in $work/fsck
fsck_off() { "$build/sandboxd" --config "$NODE_STATE/sandboxd.conf" --fsck "$@" >"$work/fsck" 2>&1; }

test_fsck_takes_away_what_no_row_owns_and_nothing_else() {
    local rc=0
    command -v nft >/dev/null || skip "no nft"
    create --memory 2048
    "$ctl" fsck
    node_status
    kill -KILL "$pid"
    wait_for 10 sh -c "! kill -0 $pid 2>/dev/null"
    {
        ip tuntap add sbx7999 mode tap &&
            nft add element inet sandboxd marks '{ "sbx7999" : 7999 }' &&
            ! fsck_off &&
            grep -q 'stray: taps/sbx7999' "$work/fsck" &&
            grep -q 'stray: nftables/sbx7999: 1 elements' "$work/fsck" &&
            fsck_off --repair &&
            fsck_off &&
            ! ip link show sbx7999 2>/dev/null &&
            ! nft list map inet sandboxd marks | grep sbx7999
    } || rc=1
    cat "$work/fsck"
    "$top/scripts/node" restart --state "$NODE_STATE" >/dev/null 2>&1
    expect 0 "$rc"
    node_status
    wait_for 30 "$ctl" exec "$id" -- true
    expect well "$("$ctl" exec "$id" -- echo well)"
    # And of one that runs.
    ip tuntap add sbx7999 mode tap
    "$ctl" fsck | grep -q 'taps/sbx7999' || rc=2
    "$ctl" fsck --repair || rc=3
    ! ip link show sbx7999 2>/dev/null || rc=4
    "$ctl" fsck || rc=5
    expect 0 "$rc"
    expect well "$("$ctl" exec "$id" -- echo well)"
}

test_nothing_is_left_when_all_are_terminated() {
    local one
    for one in $("$ctl" --json list --limit 100 | python3 -c '
import json, sys
print(" ".join(s["id"] for s in json.load(sys.stdin)))'); do
        "$ctl" terminate "$one" >/dev/null
    done
    "$ctl" --json list | grep -q '^\[\]'
}

run_tests "$@"
