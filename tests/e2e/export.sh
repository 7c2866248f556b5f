#!/bin/bash
# export.sh - a snapshot goes to another node, and comes from one
#
# The other node has a state directory and a network namespace of its own; it
# shares only the image and the kernel.
. "$(dirname "$0")/lib.sh"
start_node

on_other() { SANDBOXD_CONNECT=unix:$work/other/run/node.sock "$ctl" "$@"; }

# All that imports leave on the other node.
files_of_other() { find "$work/other/snapshots" "$work/other/templates" -mindepth 1 -maxdepth 1 ! -name 'tpl_*' ! -name '.trash*' | sort; }

list_of() { python3 -c 'import json,sys; print(*(s["id"] for s in json.load(sys.stdin)), sep="\n")'; }

import_it() {
    snap=$(on_other snapshot import "$work/stream" 2>/dev/null)
    [ -n "$snap" ]
}

# A sandbox with a file, data in memory and a process; its snapshot's name is s,
# the stream is in $work/stream, and on the first node nothing is left of it.
prepare() (
    set -e
    start_beside other
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo kept >/root/f; head -c 3000000 /dev/urandom >/dev/shm/m; sha256sum </dev/shm/m >/root/sum'
    "$ctl" exec "$id" -- sh -c 'i=0; while :; do i=$((i+1)); echo $i >/root/count; sleep 0.1; done' >/dev/null 2>&1 &
    wait_for 10 "$ctl" stat "$id" /root/count
    "$ctl" snapshot create "$id" --name s >/dev/null
    "$ctl" snapshot export s "$work/stream" 2>/dev/null
    "$ctl" snapshot remove s >/dev/null
    "$ctl" terminate "$id" >/dev/null
    echo "$id" >"$work/id"
)

test_the_stream_is_ordinary_zstd_and_for_its_owner_only() {
    zstd -qt "$work/stream"
    expect 600 "$(stat -c %a "$work/stream")"
}

test_a_fork_on_another_node_goes_on_where_the_snapshot_was() {
    local fork count
    import_it
    expect "$(cat "$work/id")" "$(on_other --json snapshot list | python3 -c '
import json, sys
print(*(s["sandboxId"] for s in json.load(sys.stdin) if s["id"] == "'"$snap"'"))')"
    fork=$(on_other fork "$snap")
    expect kept "$(on_other cat "$fork" /root/f)"
    expect "$(on_other cat "$fork" /root/sum)" "$(on_other exec "$fork" -- sh -c 'sha256sum </dev/shm/m')"
    count=$(on_other cat "$fork" /root/count)
    wait_for 10 sh -c "[ \"\$(SANDBOXD_CONNECT=unix:$work/other/run/node.sock '$ctl' cat '$fork' /root/count)\" -gt $((count + 3)) ]"
    # It is a sandbox like any other: a pause and a resume of its own.
    on_other pause "$fork" >/dev/null
    expect kept "$(on_other exec "$fork" -- cat /root/f)"
    on_other terminate "$fork" >/dev/null
}

test_a_sandbox_of_the_same_id_can_be_restored_there() {
    import_it
    id=$(cat "$work/id")
    on_other create --image "$image" --id "$id" --memory 2048 --timeout 30m >/dev/null
    on_other restore "$id" "$snap" >/dev/null
    expect kept "$(on_other cat "$id" /root/f)"
    on_other terminate "$id" >/dev/null
}

test_two_imports_share_the_template() {
    import_it
    import_it
    expect 1 "$(find "$work/other/templates" -maxdepth 1 -name 'imp_*' | wc -l)"
}

test_no_other_sandbox_starts_from_a_template_that_came_along() {
    local template
    import_it
    id=$(on_other create --image "$image" --memory 2048 --timeout 30m)
    template=$(on_other --json get "$id" | json template)
    on_other terminate "$id" >/dev/null
    case $template in tpl_*) ;; *) expect "tpl_..." "$template" ;; esac
}

test_damaged_streams_leave_nothing_and_name_the_part() {
    local before size at
    before=$(files_of_other)
    size=$(stat -c %s "$work/stream")
    for at in 100 $((size / 3)) $((size / 2)) $((size - 5000)); do
        cp "$work/stream" "$work/bad"
        printf '\xa5\x5a\xa5\x5a' | dd of="$work/bad" bs=1 seek="$at" conv=notrunc status=none
        refused DATA_LOSS part on_other snapshot import "$work/bad"
    done
    head -c $((size / 2)) "$work/stream" >"$work/bad"
    refused DATA_LOSS "cut off in part" on_other snapshot import "$work/bad"
    head -c 1000 /dev/urandom >"$work/bad"
    refused DATA_LOSS part on_other snapshot import "$work/bad"
    expect "$before" "$(files_of_other)"
}

test_a_cancelled_import_leaves_nothing() {
    local before client
    before=$(files_of_other)
    mkfifo "$work/slow"
    SANDBOXD_CONNECT=unix:$work/other/run/node.sock "$ctl" snapshot import - <"$work/slow" >/dev/null 2>&1 &
    client=$!
    exec 7>"$work/slow"
    head -c 4000000 "$work/stream" >&7
    wait_for 10 sh -c "ls -A '$work/other/snapshots' | grep -q '^.import-'"
    kill $client
    wait_for 10 sh -c "! ls -A '$work/other/snapshots' | grep -q '^.import-'"
    exec 7>&-
    expect "$before" "$(files_of_other)"
}

test_an_export_that_nobody_takes_ends() {
    local client
    import_it
    mkfifo "$work/taker"
    SANDBOXD_CONNECT=unix:$work/other/run/node.sock "$ctl" snapshot export "$snap" - >"$work/taker" 2>/dev/null &
    client=$!
    exec 8<"$work/taker"
    head -c 1000 <&8 >/dev/null
    wait_for 10 pgrep -f "$build/sandboxd-parcel [0-9]* [0-9]* pack"
    kill -KILL $client
    wait_for 10 sh -c "! pgrep -f '$build/[s]andboxd-parcel [0-9]* [0-9]* pack'"
    exec 8<&-
    # It can be exported all the same.
    on_other snapshot export "$snap" "$work/again" 2>/dev/null
    zstd -qt "$work/again"
}

test_a_template_that_came_along_goes_with_its_last_snapshot() {
    local s
    import_it
    for s in $(on_other --json snapshot list | list_of); do
        on_other snapshot remove "$s" >/dev/null
    done
    wait_for 30 sh -c "! ls '$work/other/templates' | grep -q '^imp_'"
}

test_a_full_disk_is_told_before_anything_is_written() {
    local before
    node_beside other restart --set limits.disk_reserve_mib=100000000 >"$work/other.log" 2>&1
    before=$(files_of_other)
    refused RESOURCE_EXHAUSTED MiB on_other snapshot import "$work/stream"
    expect "$before" "$(files_of_other)"
    node_beside other restart --set limits.disk_reserve_mib=100 >"$work/other.log" 2>&1
    import_it
}

test_a_node_without_the_image_says_so() {
    start_beside bare
    rm -r "$work"/bare/images/*
    node_beside bare restart >"$work/bare.log" 2>&1
    export SANDBOXD_CONNECT=unix:$work/bare/run/node.sock
    refused IMAGE_NOT_FOUND "import it first" "$ctl" snapshot import "$work/stream"
    expect "" "$(find "$work/bare/snapshots" "$work/bare/templates" -mindepth 1)"
}

# Not before "||": set -e would not hold in there.
prepare >"$work/out" 2>&1
prepared=$?
[ $prepared -eq 0 ] || {
    echo "FAIL a_snapshot_is_exported"
    sed 's/^/    /' "$work/out" | tail -20
    finish
    exit 1
}
echo "PASS a_snapshot_is_exported"
run_tests "$@"
