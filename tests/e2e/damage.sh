#!/bin/bash
# damage.sh - snapshots of real guests that are damaged, or find the disk full
#
# A node of its own, whose state directory is a small tmpfs. E2E_DAMAGE=full:
# more bytes of each part, and a disk that is full at more points.
. "$(dirname "$0")/lib.sh"
full=
[ "${E2E_DAMAGE:-}" != full ] || full=1
small=$work/small

prepare() (
    set -e
    mkdir -p "$small"
    chmod 0711 "$work"
    mount -t tmpfs -o size=2500m,mode=0711 none "$small"
    start_beside small --set pool.min=0 --set limits.disk_reserve_mib=0 --set limits.disk_overcommit=40
)

mark() { "$ctl" exec "$id" -- sh -c "echo $1 >/root/f; echo $1 >/dev/shm/f; sync"; }
marks() { "$ctl" exec "$id" -- sh -c 'cat /root/f /dev/shm/f' | sort -u; }

snapshot_dir() { ls -td "$small"/snapshots/snap_* | head -1; }

# flip FILE OFFSET - all bits of that byte
flip() {
    python3 - "$@" <<'P'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
at = int(sys.argv[2])
os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 255]), at)
P
}

# offsets FILE - where to flip: the ends, the middle, and some more
offsets() {
    local size _
    size=$(stat -c %s "$1")
    echo "0 $((size / 2)) $((size - 1))"
    [ -z "$full" ] || for _ in $(seq 12); do
        echo $(((RANDOM * 32768 + RANDOM) % size))
    done
}

test_a_flipped_byte_in_any_part_is_refused_by_name_and_costs_nothing() {
    create --memory 2048
    local dir file at n=0
    mark one
    "$ctl" pause "$id" >/dev/null
    "$ctl" resume "$id" >/dev/null
    mark two
    "$ctl" pause "$id" >/dev/null
    dir=$(snapshot_dir)
    expect "disk.0.qcow2 disk.1.qcow2 manifest sandbox.mem.zst sandbox.state.zst" \
        "$(ls "$dir" | sort | paste -sd' ')"
    for file in "$dir"/*; do
        for at in $(offsets "$file"); do
            flip "$file" "$at"
            refused DATA_LOSS "${file##*/}" "$ctl" resume "$id"
            expect SANDBOX_STATE_PAUSED "$(state_of "$id")"
            flip "$file" "$at"
            n=$((n + 1))
        done
        # Shorter by a byte, and not there: the same.
        mv "$file" "$work/part"
        refused "" "${file##*/}" "$ctl" resume "$id"
        head -c -1 "$work/part" >"$file"
        refused DATA_LOSS "${file##*/}" "$ctl" resume "$id"
        rm "$file"
        mv "$work/part" "$file"
        expect SANDBOX_STATE_PAUSED "$(state_of "$id")"
    done
    # A command that needs it says the same.
    flip "$dir/sandbox.mem.zst" 100
    refused DATA_LOSS sandbox.mem.zst "$ctl" exec "$id" -- true
    flip "$dir/sandbox.mem.zst" 100
    expect two "$(marks)"
    "$ctl" fsck
    echo "# $n bytes flipped, each was found, and named its part"
    "$ctl" terminate "$id" >/dev/null
}

nothing_unfinished() {
    [ -z "$(find "$small/snapshots" -mindepth 1 -maxdepth 1 ! -name "$1")" ]
}

test_a_pause_or_snapshot_that_finds_the_disk_full_leaves_the_guest_running() {
    create --memory 2048
    local sum left
    mark one
    "$ctl" exec "$id" -- sh -c 'head -c 150000000 /dev/urandom >/dev/shm/m'
    sum=$("$ctl" exec "$id" -- sha256sum /dev/shm/m)
    for left in ${full:+140 120 100 80 40 4} 60 1; do
        fallocate -l $(($(($(stat -f -c '%a * %S' "$small"))) - (left << 20))) "$small/filler"
        refused RESOURCE_EXHAUSTED "" "$ctl" pause "$id"
        expect SANDBOX_STATE_RUNNING "$(state_of "$id")"
        wait_for 20 nothing_unfinished none
        refused RESOURCE_EXHAUSTED "" "$ctl" snapshot create "$id" --name none
        rm "$small/filler"
        wait_for 20 nothing_unfinished none
        expect "" "$("$ctl" snapshot list "$id" | tail -n +2)"
        expect "$sum" "$("$ctl" exec "$id" -- sha256sum /dev/shm/m)"
    done
    "$ctl" pause "$id" >/dev/null
    expect "$sum" "$("$ctl" exec "$id" -- sha256sum /dev/shm/m)"
    expect one "$(marks)"
    "$ctl" fsck
    "$ctl" terminate "$id" >/dev/null
}

kind() { "$ctl" --json get "$1" | json startKind; }
template_of() { "$ctl" --json get "$1" | json template; }


test_a_template_that_is_altered_is_never_loaded_and_another_takes_its_place() {
    local old first
    "$ctl" template build --image "$image" --memory 2048 >/dev/null
    create --memory 2048
    first=$id
    mark one
    old=$(template_of "$first")
    expect template "$(kind "$first")"
    flip "$small/templates/$old/template.state" 1000
    create --memory 2048
    expect cold "$(kind "$id")"
    expect well "$("$ctl" exec "$id" -- echo well)"
    "$ctl" terminate "$id" >/dev/null
    "$ctl" --json events --type template.damaged | grep -q "$old"
    create --memory 2048
    expect template "$(kind "$id")"
    [ "$(template_of "$id")" != "$old" ]
    # Who stands on the old one runs on, and it goes with that.
    id=$first
    expect one "$(marks)"
    "$ctl" --json template list | grep -q "\"$old\""
    "$ctl" terminate "$first" >/dev/null
    wait_for 30 sh -c "! '$ctl' --json template list | grep -q '\"$old\"'"
    [ -d "$small/templates/$old.quarantined" ]
    id=${made[-1]}
    "$ctl" pause "$id" >/dev/null
    expect well "$("$ctl" exec "$id" -- echo well)"
    "$ctl" terminate "$id" >/dev/null
    "$ctl" fsck --repair >/dev/null # that which was put aside
    "$ctl" fsck
}

start_node
# The mount goes before the directory.
eval "finish_work() $(declare -f finish | tail -n +2)"
finish() {
    node_beside small down >/dev/null 2>&1
    umount "$small"
    finish_work
}
trap finish EXIT
prepare >"$work/out" 2>&1
prepared=$?
[ $prepared -eq 0 ] || {
    echo "FAIL a_node_starts"
    sed 's/^/    /' "$work/out" | tail -20
    exit 1
}
export SANDBOXD_CONNECT=unix:$small/run/node.sock
run_tests "$@"
