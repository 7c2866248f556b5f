#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# events.sh - the log of a real node, and what it keeps
. "$(dirname "$0")/lib.sh"
start_node
create --memory 2048 --tenant acme
box=$id

# of TYPE FIELD - of the sandbox's last event of this type
of() {
    "$ctl" --json events --sandbox "$box" --type "$1" | tail -n 1 | json "data.$2"
}

newest() { "$ctl" --json events | tail -n 1 | json id; }

test_an_end_is_told_when_its_client_has_left() {
    local p
    p=$("$ctl" exec "$box" --background -- sh -c 'sleep 1; exit 4')
    wait_for 20 sh -c "'$ctl' events --sandbox '$box' --type exec.completed | grep -q 'pid=$p exitCode=4'"
}

test_an_end_is_told_once() {
    local since n
    since=$(newest)
    "$ctl" exec "$box" -- true
    wait_for 20 sh -c "'$ctl' events --since $since --type exec.completed | grep -q ."
    "$ctl" exec "$box" -- true
    wait_for 20 sh -c "[ \$('$ctl' events --since $since --type exec.completed | wc -l) -ge 2 ]"
    n=$("$ctl" events --since "$since" --type exec. | awk '{ print $4 }' | sort | uniq -c | awk '{ print $1, $2 }' | xargs)
    expect "2 exec.completed 2 exec.started" "$n"
}

test_an_end_during_a_lost_front_is_told() {
    local p
    eval "$("$top/scripts/node" status --state "$NODE_STATE")"
    p=$("$ctl" exec "$box" --background -- sh -c 'sleep 2; exit 9')
    kill -KILL "$front_pid"
    wait_for 30 sh -c "'$ctl' events --sandbox '$box' --type exec.completed | grep -q 'pid=$p exitCode=9'"
}

test_numbers_have_no_gaps() {
    "$ctl" --json events | python3 -c '
import json, sys
ids = [int(json.loads(l)["id"]) for l in sys.stdin]
assert ids == list(range(ids[0], ids[0] + len(ids))), ids'
}

test_a_reader_goes_on_where_it_left_off() {
    local since
    since=$(newest)
    "$ctl" exec "$box" -- true
    wait_for 20 sh -c "'$ctl' events --since $since --type exec.completed | grep -q ."
    expect $((since + 1)) "$("$ctl" --json events --since "$since" | head -n 1 | json id)"
}

test_events_are_cloud_events() {
    "$ctl" --json events --sandbox "$box" --type sandbox.created | python3 -c '
import json, sys
e = json.loads(sys.stdin.readline())
assert e["specversion"] == "1.0" and e["type"] == "sandbox.created", e
assert e["source"].startswith("sandboxd/node_") and e["subject"] == sys.argv[1], e
assert e["data"]["tenant"] == "acme" and e["data"]["memoryMib"] == 2048, e' "$box"
    "$ctl" exec "$box" -- sh -c 'exit 3' || :
    wait_for 20 sh -c "'$ctl' events --sandbox '$box' | grep -q exitCode=3"
    expect 3 "$(of exec.completed exitCode)"
}

test_files_and_ports_are_told() {
    echo x >"$work/x"
    "$ctl" cp "$work/x" "$box:/root/x"
    "$ctl" mv "$box" /root/x /root/y
    "$ctl" rm "$box" /root/y
    wait_for 20 sh -c "'$ctl' events --sandbox '$box' --type file.removed | grep -q path=/root/y"
    expect /root/y "$(of file.created path)"
    "$ctl" port expose "$box" 8123 >/dev/null
    "$ctl" port close "$box" 8123
    expect 8123 "$(of port.closed port)"
    expect REQUESTED "$(of port.closed reason)"
}

test_a_pause_tells_what_the_run_cost() {
    "$ctl" exec "$box" -- sh -c 'timeout 2 sh -c "while :; do :; done"' || :
    "$ctl" pause "$box" >/dev/null
    expect REQUESTED "$(of sandbox.paused reason)"
    expect RUNNING "$(of cost.runtime state)"
    awk -v s="$(of cost.runtime cpuSeconds)" 'BEGIN { exit !(s > 0.1) }'
    awk -v s="$(of cost.runtime vcpuSeconds)" 'BEGIN { exit !(s > 1) }'
    "$ctl" resume "$box" >/dev/null
    expect PAUSED "$(of cost.runtime state)"
    expect 0 "$(of cost.runtime vcpuSeconds | sed 's/\.0*$//')"
}

run_tests "$@"
