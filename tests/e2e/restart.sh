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
