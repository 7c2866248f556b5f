#!/bin/bash
# snapshot.sh - pause, resume, snapshots, fork
. "$(dirname "$0")/lib.sh"
start_node

test_processes_files_and_memory_survive_a_pause() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo kept >/root/f; mkdir -p /dev/shm; head -c 20000000 /dev/urandom >/dev/shm/m; sha256sum </dev/shm/m >/root/sum'
    "$ctl" exec "$id" -- sh -c 'i=0; while :; do i=$((i+1)); echo $i >/root/count; sleep 0.1; done' >/dev/null 2>&1 &
    local client=$! before
    wait_for 10 "$ctl" stat "$id" /root/count
    "$ctl" pause "$id" >/dev/null
    wait $client 2>/dev/null || :
    expect SANDBOX_STATE_PAUSED "$(state_of "$id")"
    "$ctl" resume "$id" >/dev/null
    expect SANDBOX_STATE_RUNNING "$(state_of "$id")"
    expect kept "$("$ctl" cat "$id" /root/f)"
    expect "$("$ctl" cat "$id" /root/sum)" "$("$ctl" exec "$id" -- sh -c 'sha256sum </dev/shm/m')"
    before=$("$ctl" cat "$id" /root/count)
    wait_for 10 sh -c "[ \"\$('$ctl' cat '$id' /root/count)\" -gt $((before + 3)) ]"
}

test_pausing_a_paused_one_is_an_error() {
    create --memory 2048
    "$ctl" pause "$id" >/dev/null
    refused INVALID_STATE PAUSED "$ctl" pause "$id"
}

test_the_next_command_resumes_by_itself() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo 1 >/root/f'
    "$ctl" pause "$id" >/dev/null
    expect 1 "$("$ctl" exec "$id" -- cat /root/f)"
    expect SANDBOX_STATE_RUNNING "$(state_of "$id")"
}

test_an_idle_sandbox_is_paused() {
    create --memory 2048
    id=$("$ctl" --json create --image "$image" --timeout 10m --idle-timeout 3s --memory 2048 | json id)
    echo "$id" >>"$work/made"
    wait_for 40 sh -c "'$ctl' --json get '$id' | grep -q PAUSED"
}

test_ten_pauses_in_a_row_lose_nothing() {
    create --memory 2048
    local i
    for i in $(seq 10); do
        "$ctl" exec "$id" -- sh -c "echo $i >>/root/log; sync"
        "$ctl" pause "$id" >/dev/null
        "$ctl" resume "$id" >/dev/null
    done
    expect 10 "$("$ctl" exec "$id" -- sh -c 'wc -l </root/log')"
    expect "" "$("$ctl" exec "$id" -- sh -c 'dmesg 2>/dev/null | grep -i "ext4.*error" || true')"
}

test_one_that_is_paused_as_soon_as_it_is_back_comes_back_again() {
    create --memory 2048
    local i
    for i in 1 2 3; do
        "$ctl" pause "$id" >/dev/null
        "$ctl" resume "$id" >/dev/null
    done
    expect SANDBOX_STATE_RUNNING "$(state_of "$id")"
    # What it was given each time, in the end: its file system grown no further.
    expect 0 "$("$ctl" exec "$id" -- sh -c 'dmesg 2>/dev/null | grep -c "resizing filesystem from 2621440"')"
}

# Sealed layers of the newest snapshot.
layers() {
    find "$(ls -td "$state"/snapshots/snap_* | head -1)" -maxdepth 1 -name 'disk.*' | wc -l
}

test_a_long_chain_of_disk_layers_is_merged_while_nobody_waits() {
    create --memory 2048
    local i dir
    for i in $(seq 10); do
        "$ctl" exec "$id" -- sh -c "echo $i >>/root/log; head -c 300000 /dev/urandom >/root/f$i; sha256sum /root/f$i >>/root/sums; sync"
        "$ctl" pause "$id" >/dev/null
        [ "$i" = 10 ] || "$ctl" resume "$id" >/dev/null
    done
    wait_for 60 sh -c "[ \$(ls \$(ls -td '$state'/snapshots/snap_* | head -1) | grep -c '^disk') = 1 ]"
    dir=$(ls -td "$state"/snapshots/snap_* | head -1)
    qemu-img check -q "$dir/disk.0.qcow2"
    expect "" "$(find "$state/snapshots" -maxdepth 1 -name '*merge*')"
    "$ctl" resume "$id" >/dev/null
    expect 10 "$("$ctl" exec "$id" -- sh -c 'wc -l </root/log')"
    "$ctl" exec "$id" -- sh -c 'echo 3 >/proc/sys/vm/drop_caches; sha256sum -c --quiet /root/sums'
    expect "" "$("$ctl" exec "$id" -- sh -c 'dmesg 2>/dev/null | grep -i "ext4.*error" || true')"
}

test_what_runs_can_be_saved_any_number_of_times() {
    create --memory 2048
    local i snap n
    "$ctl" exec "$id" -- sh -c 'i=0; while :; do i=$((i+1)); echo $i >/root/count; sleep 0.1; done' >/dev/null 2>&1 &
    for i in $(seq 19); do
        "$ctl" exec "$id" -- sh -c "echo $i >>/root/log; sync"
        snap=$("$ctl" snapshot create "$id" --name "n$i")
        n=$(find "$state/snapshots/$snap" -name 'disk.*' | wc -l)
        [ "$n" -le 17 ] || {
            echo "snapshot $i has $n layers"
            return 1
        }
    done
    expect 19 "$("$ctl" exec "$id" -- sh -c 'wc -l </root/log')"
    i=$("$ctl" cat "$id" /root/count)
    wait_for 10 sh -c "[ \"\$('$ctl' cat '$id' /root/count)\" -gt $((i + 3)) ]"
    "$ctl" restore "$id" n3 >/dev/null
    expect 3 "$("$ctl" exec "$id" -- sh -c 'wc -l </root/log')"
    for i in $(seq 19); do "$ctl" snapshot remove "$("$ctl" --json snapshot list "$id" | json 0.id)" >/dev/null; done
}

test_the_clock_is_right_after_a_resume() {
    create --memory 2048
    "$ctl" pause "$id" >/dev/null
    "$ctl" resume "$id" >/dev/null
    local guest host
    guest=$("$ctl" exec "$id" -- date +%s)
    host=$(date +%s)
    [ $((host - guest)) -le 2 ] && [ $((guest - host)) -le 2 ]
}

test_forks_are_apart_and_draw_different_random_bytes() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo origin >/root/f'
    "$ctl" --json fork "$id" --count 2 >"$work/forks"
    local a b
    a=$(python3 -c 'import json,sys; d=json.load(sys.stdin); d=d.get("sandboxes", d) if isinstance(d, dict) else d; print(d[0]["id"])' <"$work/forks")
    b=$(python3 -c 'import json,sys; d=json.load(sys.stdin); d=d.get("sandboxes", d) if isinstance(d, dict) else d; print(d[1]["id"])' <"$work/forks")
    printf '%s\n%s\n' "$a" "$b" >>"$work/made"
    expect origin "$("$ctl" cat "$a" /root/f)"
    "$ctl" exec "$a" -- sh -c 'echo changed >/root/f'
    expect origin "$("$ctl" cat "$b" /root/f)"
    [ "$("$ctl" exec "$a" -- sh -c 'head -c 32 /dev/urandom | sha256sum')" != \
        "$("$ctl" exec "$b" -- sh -c 'head -c 32 /dev/urandom | sha256sum')" ]
}

test_a_snapshot_restores_in_place() {
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo first >/root/f; sync'
    "$ctl" --json snapshot create "$id" --name s1 >"$work/snap"
    "$ctl" exec "$id" -- sh -c 'echo second >/root/f; sync'
    "$ctl" restore "$id" s1 >/dev/null
    expect first "$("$ctl" cat "$id" /root/f)"
    expect 1 "$("$ctl" --json snapshot list "$id" | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))')"
}

run_tests "$@"
