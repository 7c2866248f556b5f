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

# A cgroup in which processes are held uninterruptibly; its path in $freezer.
make_freezer() {
    freezer=/sys/fs/cgroup/freezer
    [ -f $freezer/cgroup.procs ] || {
        freezer=$work/freezer
        mkdir -p "$freezer"
        mount -t cgroup -o freezer none "$freezer" 2>/dev/null || skip "the kernel has no freezer of old"
        echo "$freezer" >"$work/mounted"
    }
    freezer=$freezer/sbxe2e$$
    mkdir "$freezer"
}

test_a_qemu_that_the_kernel_holds_is_told_and_ended_when_it_lets_go() {
    local well qemu rc=0 freezer
    make_freezer
    create --memory 2048
    well=$id
    create --memory 2048
    qemu=$(qemu_of "$id")
    echo "$qemu" >"$freezer/cgroup.procs"
    echo FROZEN >"$freezer/freezer.state"
    {
        wait_for 10 grep -q 'State:.D ' "/proc/$qemu/status" &&
            wait_for 15 told "$id" sandbox.error AGENT_SILENT &&
            ends_in 6 "$ctl" terminate "$id" 2>"$work/held" &&
            expect SANDBOX_STATE_TERMINATING "$(state_of "$id")" &&
            "$ctl" --json get "$id" | json stateReason >>"$work/held" &&
            cat "$work/held" &&
            grep -q 'it is ending, not ended: REQUESTED: its QEMU does not end: .*D' "$work/held" &&
            kill -0 "$qemu" &&
            ends_in 10 "$ctl" exec "$well" -- true &&
            ends_in 2 "$ctl" --json list >/dev/null
    } || rc=1
    echo THAWED >"$freezer/freezer.state"
    wait_for 30 is_terminated "$id" || rc=2
    wait_for 10 sh -c "! kill -0 $qemu 2>/dev/null" || rc=3
    echo "# held: $(tail -n 1 "$work/held")"
    rmdir "$freezer"
    [ ! -f "$work/mounted" ] || umount "$(cat "$work/mounted")"
    expect 0 "$rc"
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

agent_is() { [ "$("$ctl" --json get "$1" | json agent)" = "AGENT_STATE_$2" ]; }

# told ID TYPE WORD - an event says so
told() { "$ctl" --json events --sandbox "$1" --type "$2" | grep -q "$3"; }

# Hung is not gone: it is told, others go on, and so does it when it can.
test_a_guest_that_hangs_is_told_in_seconds_and_comes_back() {
    create --memory 2048
    local well=$id qemu began rc=0
    create --memory 2048
    expect AGENT_STATE_WELL "$("$ctl" --json get "$id" | json agent)"
    "$ctl" exec "$id" -- sh -c 'echo kept >/dev/shm/f'
    qemu=$(qemu_of "$id")
    kill -STOP "$qemu"
    began=$(date +%s%N)
    {
        wait_for 15 agent_is "$id" SILENT &&
            wait_for 5 told "$id" sandbox.error 'agent does not answer' &&
            echo "# a hung guest is told after $((($(date +%s%N) - began) / 1000000)) ms" &&
            ends_in 10 "$ctl" exec "$well" -- true &&
            ends_in 2 "$ctl" get "$id" >/dev/null &&
            "$ctl" get "$id" | grep -q 'problem .*does not answer' &&
            agent_is "$well" WELL
    } || rc=1
    kill -CONT "$qemu"
    expect 0 "$rc"
    wait_for 30 agent_is "$id" WELL
    wait_for 5 told "$id" sandbox.recovered durationMs
    expect kept "$("$ctl" exec "$id" -- cat /dev/shm/f)"
    ends_in 6 "$ctl" terminate "$id"
}

# Long enough for its link to be given up: calls end, and there is a new one.
test_a_guest_that_hangs_for_long_gets_a_new_link() {
    create --memory 2048
    local qemu call rc=0
    qemu=$(qemu_of "$id")
    "$ctl" exec "$id" -- sleep 600 2>"$work/hung" &
    call=$!
    wait_for 10 told "$id" exec.started sleep
    kill -STOP "$qemu"
    wait_for 60 sh -c "! kill -0 $call 2>/dev/null" || rc=1
    grep -q UNAVAILABLE "$work/hung" || rc=2
    agent_is "$id" SILENT || rc=3
    expect 1 "$("$ctl" --json events --sandbox "$id" --type sandbox.error | wc -l)" || rc=4
    kill -CONT "$qemu"
    expect 0 "$rc"
    wait_for 30 agent_is "$id" WELL
    expect on "$("$ctl" exec "$id" -- echo on)"
}

# in_guest PYTHON - as root there, on its agent
in_guest() {
    "$ctl" exec "$id" -- python3 -c "import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def sure(r):
    if r < 0:
        raise OSError(ctypes.get_errno(), 'in the guest')
    return r
$1"
}

# The guest's own root stops its agent: the guest is well, the agent is not.
test_an_agent_that_its_guest_stops_is_told_and_comes_back() {
    create --memory 2048
    local well=$id began
    create --memory 2048
    in_guest '
sure(libc.ptrace(0x4206, 1, None, None)) # SEIZE
sure(libc.ptrace(0x4207, 1, None, None)) # INTERRUPT
time.sleep(25)' &
    began=$(date +%s%N)
    wait_for 20 agent_is "$id" SILENT
    echo "# a stopped agent is told after $((($(date +%s%N) - began) / 1000000)) ms, the start of what stops it too"
    wait_for 5 told "$id" sandbox.error AGENT_SILENT
    ends_in 10 "$ctl" exec "$well" -- true
    wait_for 60 agent_is "$id" WELL
    expect on "$("$ctl" exec "$id" -- echo on)"
    ends_in 6 "$ctl" terminate "$id"
}

# And has it say what it likes: from its own descriptor.
test_an_agent_that_lies_is_told_and_harms_nobody() {
    create --memory 2048
    local well=$id
    create --memory 2048
    in_guest '
pid = os.pidfd_open(1)
for fd in os.listdir("/proc/1/fd"):
    to = os.readlink("/proc/1/fd/" + fd)
    if to.startswith("/dev/vport") or "vsock" in to.lower():
        os.write(sure(libc.syscall(438, pid, int(fd), 0)), b"\xff" * 64)
        break
else:
    sys.exit("no link")
time.sleep(600)' 2>"$work/lie" &
    wait_for 20 agent_is "$id" BROKEN || {
        cat "$work/lie"
        return 1
    }
    wait_for 5 told "$id" sandbox.error AGENT_BROKEN
    "$ctl" get "$id" | grep -q 'problem .*broke the protocol'
    ends_in 10 "$ctl" exec "$well" -- true
    agent_is "$well" WELL
    expect on "$("$ctl" exec "$id" -- echo on)"
    "$ctl" pause "$id"
    "$ctl" resume "$id"
    agent_is "$id" WELL
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
