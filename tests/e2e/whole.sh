#!/bin/bash
# whole.sh - a node that does not clone: libvirt saves and restores its guests
. "$(dirname "$0")/lib.sh"
start_node

prepare() (
    set -e
    start_beside whole --set snapshots.mechanism=libvirt
)

test_the_node_says_how_it_saves() {
    expect save "$("$ctl" --json node | json snapshotMechanism)"
    "$ctl" --json node | json problems | grep -q 'mechanism = libvirt'
    "$ctl" doctor | grep -qi 'whole'
}

test_a_sandbox_boots_cold() {
    create --memory 2048
    expect cold "$("$ctl" --json get "$id" | json startKind)"
    expect "" "$(ls "$work/whole/templates")"
}

nothing_half_done() { [ -z "$(find "$work/whole/snapshots" -name sandbox.save -o -name pending)" ]; }

test_processes_files_and_memory_survive_a_pause() {
    create --memory 2048
    local client before
    "$ctl" exec "$id" -- sh -c 'echo kept >/root/f; head -c 20000000 /dev/urandom >/dev/shm/m; sha256sum </dev/shm/m >/root/sum'
    "$ctl" exec "$id" -- sh -c 'i=0; while :; do i=$((i+1)); echo $i >/root/count; sleep 0.1; done' >/dev/null 2>&1 &
    client=$!
    wait_for 10 "$ctl" stat "$id" /root/count
    "$ctl" pause "$id" >/dev/null
    wait $client 2>/dev/null || :
    expect SANDBOX_STATE_PAUSED "$(state_of "$id")"
    zstd -qt "$work"/whole/snapshots/*/sandbox.save.zst
    # Of this one and of what other tests' sandboxes are just doing.
    wait_for 30 nothing_half_done
    "$ctl" resume "$id" >/dev/null
    expect kept "$("$ctl" cat "$id" /root/f)"
    expect "$("$ctl" cat "$id" /root/sum)" "$("$ctl" exec "$id" -- sh -c 'sha256sum </dev/shm/m')"
    before=$("$ctl" cat "$id" /root/count)
    wait_for 10 sh -c "[ \"\$('$ctl' cat '$id' /root/count)\" -gt $((before + 3)) ]"
}

test_three_pauses_in_a_row_lose_nothing() {
    create --memory 2048
    local i guest host
    for i in 1 2 3; do
        "$ctl" exec "$id" -- sh -c "echo $i >>/root/log; sync"
        "$ctl" pause "$id" >/dev/null
        "$ctl" resume "$id" >/dev/null
    done
    expect 3 "$("$ctl" exec "$id" -- sh -c 'wc -l </root/log')"
    guest=$("$ctl" exec "$id" -- date +%s)
    host=$(date +%s)
    [ $((host - guest)) -le 2 ] && [ $((guest - host)) -le 2 ]
}

test_a_snapshot_is_taken_of_what_runs_on_and_forks() {
    create --memory 2048
    local a
    "$ctl" exec "$id" -- sh -c 'echo first >/root/f; sync'
    "$ctl" snapshot create "$id" --name s1 >/dev/null
    "$ctl" exec "$id" -- sh -c 'echo second >/root/f; sync'
    expect second "$("$ctl" cat "$id" /root/f)"
    a=$("$ctl" fork s1 --snapshot 2>/dev/null || "$ctl" fork s1)
    echo "$a" >>"$work/made"
    expect first "$("$ctl" cat "$a" /root/f)"
    [ "$("$ctl" exec "$a" -- sh -c 'head -c 32 /dev/urandom | sha256sum')" != \
        "$("$ctl" exec "$id" -- sh -c 'head -c 32 /dev/urandom | sha256sum')" ]
    "$ctl" restore "$id" s1 >/dev/null
    expect first "$("$ctl" cat "$id" /root/f)"
}

test_a_daemon_that_is_killed_in_mid_pause_loses_nothing() {
    create --memory 2048
    local try pid
    "$ctl" exec "$id" -- sh -c 'echo kept >/dev/shm/f'
    for try in 1 2 3; do
        "$ctl" pause "$id" >/dev/null 2>&1 &
        # At different moments of it.
        read -rt "0.$((try * 3))" <> <(:) || :
        pid=$(cat "$work/whole/run/sandboxd.pid")
        kill -KILL "$pid"
        wait_for 10 sh -c "! kill -0 $pid"
        node_beside whole restart >"$work/whole.log" 2>&1
        wait_for 60 sh -c "'$ctl' --json get '$id' | grep -q 'RUNNING\|PAUSED'"
        wait_for 60 "$ctl" exec "$id" -- true
        expect kept "$("$ctl" exec "$id" -- cat /dev/shm/f)"
    done
}

test_a_flipped_byte_is_refused_and_the_sandbox_stays_paused() {
    create --memory 2048
    local file
    "$ctl" pause "$id" >/dev/null
    file=$(ls -t "$work"/whole/snapshots/*/sandbox.save.zst | head -1)
    cp "$file" "$work/good"
    printf '\xa5' | dd of="$file" bs=1 seek=30000 conv=notrunc status=none
    refused DATA_LOSS sandbox.save.zst "$ctl" resume "$id"
    expect SANDBOX_STATE_PAUSED "$(state_of "$id")"
    cat "$work/good" >"$file"
    "$ctl" resume "$id" >/dev/null
}

test_what_was_saved_whole_resumes_on_a_node_that_clones_again() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo kept >/dev/shm/f'
    "$ctl" pause "$id" >/dev/null
    node_beside whole restart --set snapshots.mechanism=auto >"$work/whole.log" 2>&1
    expect kept "$("$ctl" exec "$id" -- cat /dev/shm/f)"
    wait_for 30 grep -q "^.* clone$" "$work/whole/mechanism"
    expect clone "$("$ctl" --json node | json snapshotMechanism)"
    "$ctl" pause "$id" >/dev/null
    expect kept "$("$ctl" exec "$id" -- cat /dev/shm/f)"
    node_beside whole restart --set snapshots.mechanism=libvirt >"$work/whole.log" 2>&1
    # And the other way round, once the new daemon has its agent back.
    wait_for 30 "$ctl" pause "$id"
    expect kept "$("$ctl" exec "$id" -- cat /dev/shm/f)"
}

# Not before "||": set -e would not hold in there.
prepare >"$work/out" 2>&1
prepared=$?
[ $prepared -eq 0 ] || {
    echo "FAIL a_node_starts"
    sed 's/^/    /' "$work/out" | tail -20
    finish
    exit 1
}
export SANDBOXD_CONNECT=unix:$work/whole/run/node.sock
run_tests "$@"
