#!/bin/bash
# exec.sh - commands in a real guest
. "$(dirname "$0")/lib.sh"
start_node
create --env FROM_CREATE=yes
box=$id

x() { "$ctl" exec "$box" "$@"; }

test_output_and_exit_status_come_back() {
    expect hello "$(x -- echo hello)"
    local rc=0
    x -- sh -c 'exit 7' || rc=$?
    expect 7 "$rc"
}

test_false_exits_1() {
    local rc=0
    x -- false || rc=$?
    expect 1 "$rc"
}

test_a_missing_program_is_a_clear_error() {
    refused FILE_NOT_FOUND nosuchprogram x -- nosuchprogram
}

test_stderr_is_apart_from_stdout() {
    expect out "$(x -- sh -c 'echo out; echo err >&2' 2>/dev/null)"
    expect err "$(x -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)"
}

test_env_of_sandbox_and_command_are_joined() {
    expect "yes no" "$(x --env OF_EXEC=no -- sh -c 'echo $FROM_CREATE $OF_EXEC')"
}

test_cwd_and_user_are_as_asked() {
    expect /usr "$(x --cwd /usr -- pwd)"
    expect 65534 "$(x --user nobody -- id -u)"
    refused INVALID_CONFIG cwd x --cwd /nosuchdir -- pwd
    refused INVALID_CONFIG user x --user nosuchuser -- id
}

test_the_default_directory_is_the_workdir() {
    expect /workspace "$(x -- pwd)"
}

test_the_kernel_tells_paths_as_they_are() {
    expect /usr/bin/readlink "$(x -- readlink /proc/self/exe)"
    expect /usr "$(x --cwd /usr -- readlink /proc/self/cwd)"
}

test_stdin_is_passed_binary_and_whole() {
    head -c 3000000 /dev/urandom >"$work/in"
    x -i -- sha256sum <"$work/in" | cut -d' ' -f1 >"$work/sum"
    expect "$(sha256sum <"$work/in" | cut -d' ' -f1)" "$(cat "$work/sum")"
}

test_without_i_stdin_is_empty() {
    expect 0 "$(echo something | x -- wc -c)"
}

test_twenty_megabytes_of_output_pass_unchanged() {
    x -- head -c 20000000 /dev/zero | cmp -n 20000000 - /dev/zero
    expect 20000000 "$(x -- head -c 20000000 /dev/zero | wc -c)"
}

test_a_signal_ends_with_128_and_its_number() {
    local rc=0
    x -- sh -c 'kill -TERM $$' || rc=$?
    expect 143 "$rc"
}

test_a_timeout_kills_all_that_was_started() {
    local rc=0
    x --timeout 2s -- sh -c 'sleep 1000 & sleep 1000' || rc=$?
    [ "$rc" -ne 0 ]
    expect 0 "$(x -- sh -c 'pgrep -c -x sleep || true')"
}

test_a_terminal_is_a_terminal() {
    # script(1) gives the client itself a terminal.
    command -v script >/dev/null || skip "no script(1)"
    script -qec "'$ctl' exec '$box' -t -- tty" /dev/null </dev/null | grep -q /dev/pts
}

test_a_background_process_outlives_its_client_and_can_be_attached() {
    local pid
    x -- sh -c 'for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done' >/dev/null &
    local client=$!
    wait_for 10 sh -c "'$ctl' --json ps '$box' | grep -q RUNNING"
    kill -KILL $client
    wait $client 2>/dev/null || :
    pid=$("$ctl" --json ps "$box" | python3 -c '
import json, sys
print([p["pid"] for p in json.load(sys.stdin) if p["state"].endswith("RUNNING")][-1])')
    "$ctl" attach "$box" "$pid" --offset 0 >"$work/attached"
    expect "line 1" "$(head -1 "$work/attached")"
    expect "line 8" "$(tail -1 "$work/attached")"
}

test_kill_ends_a_process_from_outside() {
    x -- sleep 1000 &
    local client=$! pid rc=0
    wait_for 10 sh -c "'$ctl' --json ps '$box' | grep -q RUNNING"
    pid=$("$ctl" --json ps "$box" | python3 -c '
import json, sys
print([p["pid"] for p in json.load(sys.stdin) if p["state"].endswith("RUNNING")][-1])')
    "$ctl" kill "$box" "$pid" --signal KILL
    wait $client || rc=$?
    expect 137 "$rc"
}

test_ten_commands_at_once_all_answer() {
    local i pids=()
    for i in $(seq 10); do
        x -- sh -c "sleep 0.2; echo $i" >"$work/par.$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    for i in $(seq 10); do expect "$i" "$(cat "$work/par.$i")"; done
}

test_a_hundred_commands_in_a_row_leave_nothing() {
    local i
    for i in $(seq 100); do x -- true; done
    expect 0 "$(x -- sh -c 'ps -eo stat= | grep -c ^Z || true')"
}

run_tests "$@"
