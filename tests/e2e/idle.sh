#!/bin/bash
# idle.sh - what is in use is not paused, what is not is, and what is paused
# comes back once for all who want it
. "$(dirname "$0")/lib.sh"
start_node

is_paused() { [ "$(state_of "$1")" = SANDBOX_STATE_PAUSED ]; }

# Pauses of sandbox $1 so far.
count_events() { # ID TYPE
    "$ctl" --json events --sandbox "$1" | grep -c "\"$2\"" || :
}

# For $1 seconds nothing happens that we could wait for.
let_pass() {
    read -rt "$1" <> <(:) || :
}

test_what_computes_in_the_background_is_not_paused() {
    create --memory 2048 --idle-timeout 4s
    local pid
    pid=$("$ctl" exec "$id" --background -- sh -c 'while :; do :; done')
    let_pass 12
    expect 0 "$(count_events "$id" sandbox.paused)"
    "$ctl" kill "$id" "${pid##* }" --signal KILL
    wait_for 30 is_paused "$id"
}

test_what_sleeps_in_the_background_is_paused() {
    create --memory 2048 --idle-timeout 3s
    "$ctl" exec "$id" --background -- sleep 1000
    wait_for 30 is_paused "$id"
}

test_a_forgotten_shell_keeps_nothing_awake() {
    create --memory 2048 --idle-timeout 3s
    mkfifo "$work/fifo"
    "$ctl" exec -i "$id" -- sh <"$work/fifo" >"$work/shell" 2>&1 &
    exec 9>"$work/fifo"
    echo 'echo here' >&9
    wait_for 10 grep -q here "$work/shell"
    wait_for 30 is_paused "$id"
    exec 9>&-
    wait $! || :
    rm -f "$work/fifo"
}

test_a_command_that_is_waited_for_is_not_cut_off() {
    create --memory 2048 --idle-timeout 3s
    "$ctl" exec "$id" -- sh -c 'sleep 9; exit 5' || local rc=$?
    expect 5 "$rc"
    expect 0 "$(count_events "$id" sandbox.paused)"
}

test_all_who_want_a_paused_one_get_it_and_it_is_resumed_once() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo content >/root/f'
    "$ctl" exec "$id" --background -- python3 -m http.server 8000 --bind 127.0.0.1
    wait_for 20 "$ctl" exec "$id" -- python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8000))'
    local addr i pids=()
    addr=$("$ctl" port expose "$id" 8000 | awk '{print $2}')
    "$ctl" pause "$id" >/dev/null
    for i in $(seq 12); do
        "$ctl" exec "$id" -- echo "exec" >"$work/many.e$i" 2>&1 &
        pids+=($!)
        "$ctl" cat "$id" /root/f >"$work/many.f$i" 2>&1 &
        pids+=($!)
        curl -sS -m 90 -o /dev/null -w '%{http_code}\n' "http://$addr/" >"$work/many.p$i" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || :; done
    expect 12 "$(cat "$work"/many.e* | grep -cx exec)"
    expect 12 "$(cat "$work"/many.f* | grep -cx content)"
    expect 12 "$(cat "$work"/many.p* | grep -cx 200)"
    expect 1 "$(count_events "$id" sandbox.resumed)"
}

run_tests "$@"
