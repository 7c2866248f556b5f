#!/bin/bash
# upgrade.sh - another build of the daemon takes over what this one runs, and
# gives it back
#
# OLD_BUILD: the build directory of an earlier release, below its sources.
# Without it: a copy of this build that says another version.
. "$(dirname "$0")/lib.sh"
start_node
# This build with another version in the programs that tell one.
make_old_build() {
    local file
    # Beside it: the way to the sources is the same from there.
    old=$(mktemp -d "$(dirname "$build")/build-old.XXXXXX")
    made_build=$old
    cp -a --reflink=auto "$build/." "$old/"
    sed -i 's/^\(#define PACKAGE_\(VERSION\|STRING\) ".*\)"$/\1-old"/' "$old/config.h"
    # Not all of it again: only what has the version in it.
    touch -r "$build/config.h" "$old/config.h"
    (cd "$top" && grep -rlE 'PACKAGE_(VERSION|STRING)' daemon guest-agent --include='*.c') |
        while read -r file; do
            file=$(basename "$file" .c)
            find "$old" \( -name "$file.o" -o -name "*-$file.o" \) -delete
        done
    make -s -C "$old" sandboxd sandboxd-front sandbox-agent >"$work/make.log" 2>&1 || {
        tail -5 "$work/make.log"
        return 1
    }
}

# A command of scripts/node beside, with the programs of build $1: those of an
# earlier release know the settings that its own script writes.
with_build() {
    local SANDBOXD_BUILD=$1 top=$top
    export SANDBOXD_BUILD
    [ ! -x "$1/../scripts/node" ] || top=$1/..
    shift
    "$@"
}

version() { "$ctl" --json node | json version; }

is_running() { [ "$(state_of "$1")" = SANDBOX_STATE_RUNNING ]; }
pool_ready() { "$ctl" --json node | json poolReady | grep -qx "$1"; }
two_guests() { [ "$(guests | wc -l)" = 2 ]; }
guests() { virsh -q -c "$beside_uri" list --uuid | grep . | sort; }

# One of each: a sandbox that runs and serves a port, one that is paused, a
# snapshot, a waiting clone.
begin_all() {
    create --memory 2048 --id "up-running"
    "$ctl" exec up-running -- sh -c 'echo kept >/dev/shm/f; mkdir -p /srv && echo served >/srv/index.html'
    server=$("$ctl" exec up-running --background -- sh -c 'cd /srv && exec python3 -m http.server --bind 127.0.0.1 8000' | grep -o '[0-9]*' | head -1)
    "$ctl" --json port expose up-running 8000 >"$work/port"
    "$ctl" update up-running --allow 198.51.100.7:443 >/dev/null
    create --memory 2048 --id "up-paused"
    "$ctl" exec up-paused -- sh -c 'echo slept >/dev/shm/f; echo disk >/root/f'
    "$ctl" snapshot create up-paused --name before >/dev/null
    "$ctl" pause up-paused >/dev/null
    wait_for 60 pool_ready 1
    # Pausing does not wait for libvirt to forget the guest.
    wait_for 20 two_guests
    guests >"$work/guests"
}

serves() {
    ip netns exec "${netns}old" curl -sf "http://$(json hostAddress <"$work/port"):$(json hostPort <"$work/port")/" | grep -q served
}

# The same guests as before. Builds may differ in what makes templates what they
# are: then the waiting clone goes, and others wait once somebody made a new one.
same_guests() {
    if [ -z "${OLD_BUILD:-}" ]; then
        expect "$(cat "$work/guests")" "$(guests)"
        wait_for 20 pool_ready 1
    else
        guests | comm -12 - "$work/guests" | grep -q .
    fi
}

all_there() {
    wait_for 20 is_running up-running
    same_guests || {
        grep -v INFO "$work/old/log" | tail -20
        return 1
    }
    expect kept "$("$ctl" exec up-running -- cat /dev/shm/f)"
    "$ctl" --json ps up-running | grep -q "\"pid\": *$server\b"
    expect "$(json hostPort <"$work/port")" "$("$ctl" --json port list up-running | json 0.hostPort)"
    wait_for 20 serves
    "$ctl" --json get up-running | grep -q 198.51.100.7
    expect SANDBOX_STATE_PAUSED "$(state_of up-paused)"
    "$ctl" --json snapshot list up-paused | grep -q before
}

# hand_over TO - SIGTERM to the one, the other's start, in seconds
hand_over() {
    local began=$SECONDS
    with_build "$1" node_beside old restart >"$work/restart.log" 2>&1 || {
        tail -5 "$work/restart.log"
        return 1
    }
    echo "# handed over to '$(version)' in $((SECONDS - began)) s"
}

test_another_build_takes_over_and_gives_back() {
    local newer older
    made_build=
    trap '[ -z "$made_build" ] || rm -rf "$made_build"' EXIT
    if [ -n "${OLD_BUILD:-}" ]; then old=$OLD_BUILD; else make_old_build; fi
    with_build "$old" start_beside old --set pool.min=1
    eval "$(node_beside old status | sed 's/^libvirt_uri/beside_uri/')"
    export SANDBOXD_CONNECT=$socket
    older=$(version)
    begin_all
    hand_over "$build"
    newer=$(version)
    [ -n "${OLD_BUILD:-}" ] || [ "$newer" != "$older" ]
    all_there
    "$ctl" --json events --type node.started | tail -1 | grep -q "$newer"
    # A daemon that cannot read what the newer one wrote says so and goes.
    if hand_over "$old"; then
        all_there
    else
        grep -q 'newer' "$work/old/log"
        echo "# the older one refuses the newer one's database, as it should"
    fi
    hand_over "$build"
    all_there
    expect slept "$("$ctl" exec up-paused -- cat /dev/shm/f)"
    expect disk "$("$ctl" exec up-paused -- cat /root/f)"
    "$ctl" restore up-paused before >/dev/null
    expect slept "$("$ctl" exec up-paused -- cat /dev/shm/f)"
    create --memory 2048
    "$ctl" exec "$id" -- true
    "$ctl" fsck
}

run_tests "$@"
