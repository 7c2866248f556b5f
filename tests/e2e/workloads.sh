#!/bin/bash
# workloads.sh - guests that are busy are paused, resumed and forked, and do not
# notice
#
# E2E_WORKLOADS=N: that many pauses of one busy guest, N/2 forks (at most 100),
# and memory filled to 0, 25 and 75 %; the design's figures are those of 200, in
# some 25 minutes under emulation. Else three, four, and 25 %. What was measured
# is printed as lines "# ...".
. "$(dirname "$0")/lib.sh"
count=${E2E_WORKLOADS:-3}
forks=4
fills=25
[ "$count" -le 3 ] || {
    forks=$((count / 2 < 100 ? count / 2 : 100))
    fills='0 25 75'
}
export PYTHONDONTWRITEBYTECODE=1
start_node

drive() {
    local rc=0
    python3 "$here/workloads.py" "$@" || rc=$?
    return $rc
}

# in_guest ARG.. - guest_work.py in the sandbox, left running
in_guest() {
    "$ctl" cp "$here/guest_work.py" "$id:/root/" 2>/dev/null
    "$ctl" exec "$id" --background -- python3 /root/guest_work.py "$@" >/dev/null
}

# The newest layer of a paused sandbox's disk.
disk_of() {
    local manifest
    manifest=$(ls -td "$state"/snapshots/snap_*/manifest | head -1)
    ls -v "${manifest%/*}"/disk.*.qcow2 | tail -1
}

# fsck_of ID - the file system on its disk, from outside
fsck_of() {
    local raw=$work/disk.raw
    "$ctl" pause "$1" >/dev/null
    qemu-img convert -O raw "$(disk_of)" "$raw"
    e2fsck -fn "$raw" || {
        echo "e2fsck: exit status $?"
        return 1
    }
    rm -f "$raw"
}

test_a_busy_guest_misses_nothing_however_often_it_is_paused() {
    create --memory 2048 --timeout 3h --idle-timeout 3h
    in_guest run /root/work
    drive cycles "$ctl" "$id" "$count"
    expect "" "$("$ctl" exec "$id" -- sh -c 'dmesg | grep -iE "ext4.*(error|warn)|i/o error|blocked for|BUG:|corrupt" || true')"
    fsck_of "$id"
}

test_memory_is_the_same_byte_for_byte() {
    local percent
    for percent in $fills; do
        create --memory 2048
        in_guest hold $((2048 * percent / 100))
        drive memory "$ctl" "$id" $((2048 * percent / 100))
        "$ctl" terminate "$id" >/dev/null
    done
}

# drawn_by ID - its log of random bytes, once it has some of after it was made
drawn_by() {
    local lines
    lines=$("$ctl" exec "$1" -- sh -c 'wc -l </root/drawn')
    wait_for 30 sh -c "[ \$('$ctl' exec '$1' -- sh -c 'wc -l </root/drawn') -gt $((lines + 12)) ]"
    "$ctl" cat "$1" /root/drawn >"$work/drawn.$1$2"
    "$ctl" exec "$1" -- sh -c 'cat /etc/machine-id; hostname' >"$work/name.$1$2"
}

test_no_fork_or_restore_draws_what_another_did() {
    create --memory 2048
    local origin=$id left=$forks batch fork snap
    in_guest draw /root/drawn
    wait_for 30 "$ctl" stat "$id" /root/drawn
    snap=$("$ctl" snapshot create "$id" --name drawn)
    while [ $left -gt 0 ]; do
        batch=$((left < 4 ? left : 4))
        left=$((left - batch))
        "$ctl" fork "$snap" --snapshot --count $batch >"$work/batch"
        cat "$work/batch" >>"$work/made"
        for fork in $(cat "$work/batch"); do
            drawn_by "$fork" ""
            "$ctl" terminate "$fork" >/dev/null
        done
    done
    # What it was made of runs on, is put back to it twice, and forks as well.
    drawn_by "$origin" .origin
    expect "$((forks + 1))" "$(head -qn 1 "$work"/name.* | sort -u | wc -l)"
    expect "$((forks + 1))" "$(tail -qn 1 "$work"/name.* | sort -u | wc -l)"
    "$ctl" restore "$origin" drawn >/dev/null
    drawn_by "$origin" .again
    "$ctl" restore "$origin" drawn >/dev/null
    drawn_by "$origin" .once-more
    "$ctl" pause "$origin" >/dev/null
    "$ctl" resume "$origin" >/dev/null
    expect "$((forks + 3))" "$(ls "$work"/drawn.* | wc -l)"
    drive drawn "$work"/drawn.*
}

run_tests "$@"
