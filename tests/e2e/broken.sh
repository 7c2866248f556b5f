#!/bin/bash
# broken.sh - what a sandbox stands on dies or hangs: it is seen within seconds,
# others do not notice, and terminate works
. "$(dirname "$0")/lib.sh"
start_node

# The process of sandbox $1's guest: it runs as the user of the guest's number,
# which its address tells too.
qemu_of() {
    local ip
    ip=$("$ctl" exec "$1" -- hostname -I) || return 1
    ip=${ip%% *}
    pgrep -f -u $((30000 + ${ip##*.} - 2)) "qemu-system.*$NODE_STATE/guests/"
}

# ends_in SECONDS COMMAND..
ends_in() {
    local began
    began=$(date +%s%N)
    "${@:2}" || return 1
    [ $(($(date +%s%N) - began)) -le $(($1 * 1000000000)) ] || {
        echo "took longer than $1 s: ${*:2}"
        return 1
    }
}

is_terminated() { [ "$(state_of "$1")" = SANDBOX_STATE_TERMINATED ]; }

test_a_killed_qemu_is_seen_and_told() {
    create --memory 2048
    local well=$id
    create --memory 2048
    kill -KILL "$(qemu_of "$id")"
    wait_for 10 is_terminated "$id"
    expect GUEST_GONE "$("$ctl" --json get "$id" | json stateReason)"
    "$ctl" --json events --sandbox "$id" | grep -q sandbox.error
    expect well "$("$ctl" exec "$well" -- echo well)"
}

test_a_qemu_that_hangs_blocks_nobody_and_is_terminated() {
    create --memory 2048
    local well=$id qemu
    create --memory 2048
    qemu=$(qemu_of "$id")
    kill -STOP "$qemu"
    ends_in 10 "$ctl" exec "$well" -- true
    ends_in 6 "$ctl" terminate "$id"
    wait_for 10 is_terminated "$id"
    ! kill -0 "$qemu" 2>/dev/null
}

test_a_guest_that_panics_is_seen_and_told() {
    create --memory 2048
    local well=$id
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo c >/proc/sysrq-trigger' >/dev/null 2>&1 &
    wait_for 15 is_terminated "$id"
    expect GUEST_GONE "$("$ctl" --json get "$id" | json stateReason)"
    "$ctl" --json events --sandbox "$id" | grep -q sandbox.error
    expect well "$("$ctl" exec "$well" -- echo well)"
}

# Hung is not gone: it is told, others go on, and so does it when it can.
test_an_agent_that_hangs_is_told_and_comes_back() {
    create --memory 2048
    local well=$id qemu began
    create --memory 2048
    "$ctl" exec "$id" -- sh -c 'echo kept >/dev/shm/f'
    qemu=$(qemu_of "$id")
    kill -STOP "$qemu"
    began=$SECONDS
    wait_for 60 sh -c "'$ctl' --json events --sandbox '$id' --type sandbox.error | grep -q 'agent does not answer'" || {
        kill -CONT "$qemu"
        return 1
    }
    echo "# a hung agent is told after $((SECONDS - began)) s"
    ends_in 10 "$ctl" exec "$well" -- true
    ends_in 2 "$ctl" get "$id" >/dev/null
    kill -CONT "$qemu"
    wait_for 30 sh -c "'$ctl' exec '$id' -- cat /dev/shm/f | grep -q kept"
    ends_in 6 "$ctl" terminate "$id"
}

test_with_libvirtd_hung_sandboxes_go_on_and_can_be_terminated() {
    [ -f "$NODE_STATE/libvirt/libvirtd.pid" ] || [ -f "$NODE_STATE/libvirt/run/libvirtd.pid" ] ||
        skip "libvirtd is the system's here"
    local daemon rc=0
    daemon=$(cat "$NODE_STATE"/libvirt/libvirtd.pid "$NODE_STATE"/libvirt/run/libvirtd.pid 2>/dev/null | head -1)
    create --memory 2048
    local other=$id
    create --memory 2048
    kill -STOP "$daemon"
    {
        ends_in 10 "$ctl" exec "$other" -- true &&
            ends_in 7 "$ctl" terminate "$id"
    } || rc=1
    kill -CONT "$daemon"
    expect 0 "$rc"
    wait_for 60 is_terminated "$id"
    expect well "$("$ctl" exec "$other" -- echo well)"
}

run_tests "$@"
