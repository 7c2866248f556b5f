#!/bin/bash
# images.sh - imported again, replaced, removed: what becomes of who stands on it
#
# The images are made here: roots of a few files and no program. What a guest
# has of one is read by its agent.
. "$(dirname "$0")/lib.sh"
start_node

# make_archive WORD - $work/WORD.tar, which differs from another's in two files
make_archive() {
    local root=$work/root-$1
    mkdir -p "$root"/{dev,proc,sys,run,tmp,etc,root,srv}
    echo "$1" >"$root/etc/which"
    seq -f "$1 %g" 50000 >"$root/srv/late"
    tar -C "$root" --sort=name -cf "$work/$1.tar" .
}

import() { # ARCHIVE NAME [OPTION..]
    "$ctl" image import "$work/$1.tar" --name "$2" "${@:3}" >/dev/null 2>&1
}

# digest_of NAME - "" when there is none
digest_of() {
    "$ctl" --json image list | python3 -c '
import json, sys
print(*(i["digest"] for i in json.load(sys.stdin) if i["name"] == sys.argv[1]))' "$1"
}

# templates_of DIGEST - how many
templates_of() {
    "$ctl" --json template list | python3 -c '
import json, sys
print(sum(t["imageDigest"] == sys.argv[1] for t in json.load(sys.stdin)))' "$1"
}

# files_of DIGEST - the directories of that image
files_of() { grep -l "$1" "$state"/images/*/manifest.json || :; }

is_gone() { [ -z "$(files_of "$1")" ] && [ "$(templates_of "$1")" = 0 ]; }

# What is in a guest's memory only.
remember() { "$ctl" cp "$work/memory" "$1:/dev/shm/memory" >/dev/null; }

# stands_on WORD ID - it has that image, and what remember() put there
stands_on() {
    expect "$1" "$("$ctl" cat "$2" /etc/which)"
    "$ctl" cat "$2" /dev/shm/memory | cmp - "$work/memory"
}

test_the_same_content_again_is_the_same_image() {
    local name=again-$$ digest
    import one "$name"
    digest=$(digest_of "$name")
    refused ALREADY_EXISTS "$name" "$ctl" image import "$work/one.tar" --name "$name"
    import one "$name" --replace
    expect "$digest" "$(digest_of "$name")"
    expect 1 "$(files_of "$digest" | wc -l)"
    "$ctl" image remove "$name" >/dev/null
    is_gone "$digest"
}

test_an_image_that_a_sandbox_stands_on_cannot_be_removed() {
    local name=used-$$
    import one "$name"
    image=$name create --memory 2048
    refused INVALID_STATE "is needed" "$ctl" image remove "$name"
    "$ctl" pause "$id" >/dev/null
    refused INVALID_STATE "is needed" "$ctl" image remove "$name"
    expect one "$("$ctl" cat "$id" /etc/which)"
    "$ctl" terminate "$id" >/dev/null
    "$ctl" image remove "$name" >/dev/null
    refused IMAGE_NOT_FOUND "$name" "$ctl" create --image "$name"
}

test_sandboxes_go_on_with_the_image_that_was_replaced() {
    local name=replaced-$$ old running paused new
    import one "$name"
    old=$(digest_of "$name")
    "$ctl" template build --image "$name" --memory 2048 >/dev/null
    image=$name create --memory 2048
    running=$id
    image=$name create --memory 2048
    paused=$id
    remember "$running"
    remember "$paused"
    "$ctl" pause "$paused" >/dev/null

    refused ALREADY_EXISTS "$name" "$ctl" image import "$work/two.tar" --name "$name"
    import two "$name" --replace
    [ "$(digest_of "$name")" != "$old" ]
    expect 1 "$(files_of "$old" | wc -l)"
    refused INVALID_STATE "$name" "$ctl" image remove "$name"

    image=$name create --memory 2048
    new=$id
    expect two "$("$ctl" cat "$new" /etc/which)"
    stands_on one "$running"
    "$ctl" pause "$running" >/dev/null
    for id in "$running" "$paused"; do
        "$ctl" resume "$id" >/dev/null
        stands_on one "$id"
        # Which no guest has read before.
        "$ctl" cat "$id" /srv/late | cmp - "$work/root-one/srv/late"
    done
    "$ctl" fsck

    # A paused one is enough to keep it.
    "$ctl" terminate "$running" >/dev/null
    "$ctl" pause "$paused" >/dev/null
    [ -n "$(files_of "$old")" ]
    "$ctl" terminate "$paused" >/dev/null
    wait_for 60 is_gone "$old"
    expect two "$("$ctl" cat "$new" /etc/which)"
    "$ctl" terminate "$new" >/dev/null
    # Not while a template of it is being built.
    wait_for 60 "$ctl" image remove "$name"
    "$ctl" fsck
}

test_a_snapshot_goes_to_a_node_that_imported_the_same_archive() {
    local name=carried-$$ snap fork
    start_beside other
    import one "$name"
    image=$name create --memory 2048
    remember "$id"
    "$ctl" snapshot create "$id" --name "s$$" >/dev/null
    "$ctl" snapshot export "s$$" "$work/stream" 2>/dev/null
    export SANDBOXD_CONNECT=unix:$work/other/run/node.sock
    refused IMAGE_NOT_FOUND "import it first" "$ctl" snapshot import "$work/stream"
    import one "$name"
    snap=$("$ctl" snapshot import "$work/stream" 2>/dev/null)
    fork=$("$ctl" fork "$snap")
    stands_on one "$fork"
    "$ctl" terminate "$fork" >/dev/null
    export SANDBOXD_CONNECT=$socket
    "$ctl" snapshot remove "s$$" >/dev/null
    "$ctl" terminate "$id" >/dev/null
    wait_for 60 "$ctl" image remove "$name"
}

make_archive one
make_archive two
head -c 100000 /dev/urandom >"$work/memory"
run_tests "$@"
