#!/bin/bash
# files.sh - files in a real guest
. "$(dirname "$0")/lib.sh"
start_node
create
box=$id

test_a_copied_file_is_the_same_with_its_mode() {
    head -c 5000000 /dev/urandom >"$work/f"
    chmod 0750 "$work/f"
    "$ctl" cp "$work/f" "$box:/root/f" 2>/dev/null
    expect "$(sha256sum <"$work/f")" "$("$ctl" exec "$box" -- sh -c 'sha256sum </root/f')"
    expect 750 "$("$ctl" exec "$box" -- stat -c %a /root/f)"
    "$ctl" cp "$box:/root/f" "$work/back" 2>/dev/null
    cmp "$work/f" "$work/back"
}

test_a_tree_is_copied_both_ways() {
    mkdir -p "$work/t/a b/c"
    echo one >"$work/t/a b/c/one"
    ln -s one "$work/t/a b/c/link"
    "$ctl" cp "$work/t" "$box:/root/t" 2>/dev/null
    expect one "$("$ctl" cat "$box" "/root/t/a b/c/link")"
    "$ctl" cp "$box:/root/t" "$work/t2" 2>/dev/null
    diff -r "$work/t" "$work/t2"
    [ -L "$work/t2/a b/c/link" ]
}

test_names_are_bytes() {
    "$ctl" mkdir -p "$box" $'/root/odd/new\nline'
    printf x | "$ctl" exec "$box" -i -- sh -c $'cat >"/root/odd/\xff name"'
    expect 2 "$("$ctl" --json ls "$box" /root/odd | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))')"
}

test_a_missing_file_is_not_found() {
    refused FILE_NOT_FOUND nosuch "$ctl" cat "$box" /root/nosuch
    refused FILE_NOT_FOUND nosuch "$ctl" stat "$box" /root/nosuch
    refused FILE_NOT_FOUND nosuch "$ctl" ls "$box" /root/nosuch
}

test_mkdir_mv_and_rm_do_what_they_say() {
    "$ctl" mkdir -p "$box" /root/m/n/o
    refused FILE_NOT_FOUND "" "$ctl" mkdir "$box" /root/x/y/z
    "$ctl" mv "$box" /root/m/n /root/m/p
    "$ctl" stat "$box" /root/m/p/o >/dev/null
    refused "" "" "$ctl" rm "$box" /root/m
    "$ctl" rm -r "$box" /root/m
    refused FILE_NOT_FOUND "" "$ctl" stat "$box" /root/m
}

test_a_read_only_place_refuses_and_leaves_nothing() {
    echo x >"$work/x"
    refused "" "" "$ctl" cp "$work/x" "$box:/proc/nosuch/x"
    refused PERMISSION_DENIED "" "$ctl" cp "$work/x" "$box:/sys/kernel/x"
}

test_a_full_disk_is_said_and_leaves_no_part() {
    "$ctl" exec "$box" -- sh -c 'mkdir -p /mnt/small && mount -t tmpfs -o size=1m none /mnt/small'
    head -c 3000000 /dev/zero >"$work/big"
    refused RESOURCE_EXHAUSTED "" "$ctl" cp "$work/big" "$box:/mnt/small/big"
    expect 0 "$("$ctl" exec "$box" -- sh -c 'ls -A /mnt/small | wc -l')"
}

test_search_finds_lines_by_pattern() {
    "$ctl" exec "$box" -- sh -c 'mkdir -p /root/s; printf "a\nneedle here\nb\n" >/root/s/f.txt; echo hay >/root/s/g.txt'
    "$ctl" search "$box" 'ne+dle' /root/s >"$work/found"
    expect '/root/s/f.txt:2:needle here' "$(cat "$work/found")"
    expect '/root/s/f.txt:2:needle here' "$("$ctl" search "$box" 'ne+dle' /root/s/f.txt)"
}

test_a_search_ends_each_time() {
    local _
    "$ctl" exec "$box" -- sh -c 'mkdir -p /root/s2; echo needle >/root/s2/f'
    for _ in $(seq 100); do
        expect /root/s2/f:1:needle "$(timeout 60 "$ctl" search "$box" 'ne+dle' /root/s2)"
    done
}

test_a_listing_of_many_files_is_whole() {
    "$ctl" exec "$box" -- sh -c 'mkdir -p /root/many && cd /root/many && seq 1 20000 | xargs touch'
    expect 20000 "$("$ctl" --json ls "$box" /root/many | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))')"
}

test_watch_tells_of_a_new_file() {
    "$ctl" mkdir -p "$box" /root/w/deep
    "$ctl" --json watch "$box" /root/w >"$work/watched" &
    local watcher=$!
    wait_for 10 grep -q READY "$work/watched"
    "$ctl" exec "$box" -- touch /root/w/deep/new
    wait_for 10 grep -q CREATED "$work/watched"
    kill $watcher
    wait $watcher 2>/dev/null || :
}

test_a_sparse_file_of_gigabytes_reads_in_part() {
    "$ctl" exec "$box" -- truncate -s 4G /root/sparse
    expect 4294967296 "$("$ctl" --json stat "$box" /root/sparse | json sizeBytes)"
}

run_tests "$@"
