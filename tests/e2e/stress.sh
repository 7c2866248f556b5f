#!/bin/bash
# stress.sh - much of everything, in real guests
#
# E2E_STRESS=full: the numbers that the design promises (20 guests at once,
# 10,000 commands in a row; some 15 minutes under emulation), on a node of its
# own in a network namespace of its own, with the image of $E2E_IMAGE_TAR. Else
# fewer. What was measured is printed as lines "# ...".
. "$(dirname "$0")/lib.sh"
full=
[ "${E2E_STRESS:-}" != full ] || full=1
# Twenty of 2 vCPUs and 2 GiB: more than a small host admits by default.
start_node --set limits.vcpu_overcommit=32 --set limits.memory_overcommit=3
[ -z "$own_node" ] || "$ctl" image import "${E2E_IMAGE_TAR:?}" --name "$image" >/dev/null
create
box=$id

x() { "$ctl" exec "$box" "$@"; }

engine_pid() { "$top/scripts/node" status --state "$NODE_STATE" | sed -n 's/^pid=//p'; }
front_pid() { "$top/scripts/node" status --state "$NODE_STATE" | sed -n 's/^front_pid=//p'; }

rss() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
fds() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

# The most memory that each has held since forget_peaks, in KiB.
peak() { awk '/^VmHWM/ {print $2}' "/proc/$1/status"; }
peaks() { echo "$(peak "$(engine_pid)") $(peak "$(front_pid)") $(x -- awk '/^VmHWM/ {print $2}' /proc/1/status)"; }
forget_peaks() {
    echo 5 >"/proc/$(engine_pid)/clear_refs"
    echo 5 >"/proc/$(front_pid)/clear_refs"
    x -- sh -c 'echo 5 >/proc/1/clear_refs'
}

# What passes through is not held: 100 MB cost less than so many KiB anywhere.
bounded() {
    local p
    read -ra p <<<"$(peaks)"
    echo "# $1: peaks: engine ${p[0]} KiB, front ${p[1]} KiB, agent ${p[2]} KiB"
    [ "${p[0]}" -lt 40000 ] && [ "${p[1]}" -lt 40000 ] && [ "${p[2]}" -lt 40000 ]
}

test_100_megabytes_come_out_unchanged_in_bounded_memory() {
    local want
    forget_peaks
    want=$(x -- sh -c 'head -c 100000000 /dev/urandom >/root/big; sha256sum </root/big')
    expect "$want" "$(x -- cat /root/big | sha256sum)"
    bounded "100 MB out"
}

test_100_megabytes_go_in_unchanged_in_bounded_memory() {
    head -c 100000000 /dev/urandom >"$work/big"
    forget_peaks
    expect "$(sha256sum <"$work/big")" "$(x -i -- sha256sum <"$work/big")"
    bounded "100 MB in"
}

test_a_client_that_does_not_read_holds_the_guest_up() {
    local client rc=0
    forget_peaks
    x -- head -c 100000000 /dev/zero | (read -rN 1 _; sleep 3) &
    client=$!
    wait $client || rc=$?
    bounded "100 MB that nobody reads"
}

test_many_commands_one_after_another_leave_nothing() {
    local n=200 before after
    [ -z "$full" ] || n=10000
    [ -x "$build/tests/bench/bench_client" ] || make -s -C "$build" tests/bench/bench_client
    x -- true
    before=$(x -- awk '/^VmRSS/ {print $2}' /proc/1/status)
    "$build/tests/bench/bench_client" exec "$box" $n >"$work/times"
    after=$(x -- awk '/^VmRSS/ {print $2}' /proc/1/status)
    echo "# $n commands: $(python3 -c '
import json, sys
v = json.load(sys.stdin)
t = sorted(next(x for x in v.values() if isinstance(x, list)))
print("p50 %.1f ms, p99 %.1f ms" % (t[len(t) // 2], t[len(t) * 99 // 100]))' <"$work/times"), agent $before -> $after KiB"
    [ $((after - before)) -lt 4096 ]
    expect 0 "$(x -- sh -c 'ps -eo stat= | grep -c ^Z || true')"
}

test_50_commands_at_once_all_answer() {
    local i pids=()
    for i in $(seq 50); do
        x -- sh -c "sleep 1; echo $i" >"$work/par.$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    for i in $(seq 50); do expect "$i" "$(cat "$work/par.$i")"; done
}

test_many_guests_at_once_each_run_a_command() {
    local n=5 i pids=() since=$SECONDS
    [ -z "$full" ] || n=20
    for i in $(seq $n); do
        "$ctl" --json create --image "$image" --id "stress-$$-$i" --memory 2048 --timeout 20m --idle-timeout 20m >"$work/create.$i" &
        pids+=($!)
        echo "stress-$$-$i" >>"$work/made"
    done
    for i in "${pids[@]}"; do wait "$i"; done
    echo "# $n guests after $((SECONDS - since)) s: engine $(rss "$(engine_pid)") KiB and $(fds "$(engine_pid)") descriptors, front $(rss "$(front_pid)") KiB and $(fds "$(front_pid)")"
    pids=()
    for i in $(seq $n); do
        "$ctl" exec "stress-$$-$i" -- hostname >"$work/host.$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    for i in $(seq $n); do expect "stress-$$-$i" "$(cat "$work/host.$i")"; done
    for i in $(seq $n); do "$ctl" terminate "stress-$$-$i" >/dev/null; done
    echo "# after them: engine $(rss "$(engine_pid)") KiB and $(fds "$(engine_pid)") descriptors, front $(rss "$(front_pid)") KiB and $(fds "$(front_pid)")"
}

test_a_directory_of_very_many_entries_is_listed_whole() {
    local n=10000
    [ -z "$full" ] || n=100000
    x -- sh -c "mkdir -p /root/many && cd /root/many && seq -w 1 $n | xargs touch"
    "$ctl" --json ls "$box" /root/many | python3 -c '
import json, sys
names = set(e["name"] for e in json.load(sys.stdin))
print("#", len(names), "entries")
assert len(names) == int(sys.argv[1])' $n
}

test_the_end_of_a_sparse_file_of_4_gigabytes_is_read_at_once() {
    x -- sh -c 'truncate -s 4G /root/sparse && printf end | dd of=/root/sparse bs=1 seek=4294967293 conv=notrunc 2>/dev/null'
    expect 4294967296 "$("$ctl" --json stat "$box" /root/sparse | json sizeBytes)"
    expect end "$("$ctl" cat "$box" --offset 4294967293 /root/sparse)"
}

test_a_watch_lives_through_churn() {
    local watcher
    "$ctl" mkdir -p "$box" /root/churn
    "$ctl" --json watch "$box" /root/churn >"$work/churn" &
    watcher=$!
    wait_for 10 grep -q READY "$work/churn"
    x --cwd /root/churn -- python3 -c '
import os
for i in range(500):
    os.mkdir("d%d" % i)
    open("d%d/f" % i, "w").close()
    os.remove("d%d/f" % i)
    os.rmdir("d%d" % i)
open("last", "w").close()'
    wait_for 60 grep -q "$(printf last | base64)" "$work/churn"
    echo "# watch: $(wc -l <"$work/churn") lines for 2,000 changes"
    kill $watcher
    wait $watcher 2>/dev/null || :
}

test_a_terminal_follows_its_windows_size() {
    python3 - "$ctl" "$box" <<'P'
import fcntl, os, pty, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "exec", sys.argv[2], "-t", "-i", "--",
                           "bash", "-c", "trap 'stty size' WINCH; echo go; while sleep 0.1; do :; done"])
seen = b""
def until(what, seconds=20):
    global seen
    end = time.time() + seconds
    while what not in seen:
        assert time.time() < end, seen
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 4096)
until(b"go")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 51, 123, 0, 0))
until(b"51 123")
os.kill(pid, 9)
os.waitpid(pid, 0)
P
}

test_a_kill_takes_all_that_was_started() {
    local pid
    pid=$(x --background -- sh -c 'setsid sleep 4321 & (setsid sleep 4321 &) ; sleep 4321' | grep -o '[0-9]*' | head -1)
    wait_for 10 sh -c "[ \$('$ctl' exec '$box' -- pgrep -c -f 'sleep 4321') -ge 3 ]"
    "$ctl" kill "$box" "$pid" --signal KILL
    wait_for 10 sh -c "! '$ctl' exec '$box' -- pgrep -x sleep"
}

test_output_is_had_again_from_an_offset() {
    local pid
    pid=$(x --background -- sh -c 'for i in $(seq 100000); do echo $i; done; touch /tmp/written; sleep 600' | grep -o '[0-9]*' | head -1)
    wait_for 60 "$ctl" exec "$box" -- test -e /tmp/written
    timeout 20 "$ctl" attach "$box" "$pid" --offset 588882 >"$work/tail" &
    wait_for 20 grep -qx 100000 "$work/tail"
    expect 99999 "$(tail -n 2 "$work/tail" | head -1)"
    "$ctl" kill "$box" "$pid" --signal KILL
}

test_a_full_root_disk_is_said_and_left_as_it_was() {
    # All but a few megabytes of it, at once.
    x -- sh -c 'fallocate -l $(($(df --output=avail -B1 / | tail -1) - 4000000)) /root/filler'
    head -c 20000000 /dev/zero >"$work/toomuch"
    refused RESOURCE_EXHAUSTED "" "$ctl" cp "$work/toomuch" "$box:/root/toomuch"
    expect 0 "$(x -- sh -c 'ls -A /root | grep -c toomuch || true')"
    x -- rm /root/filler
    "$ctl" cp "$work/toomuch" "$box:/root/toomuch" 2>/dev/null
    expect 20000000 "$(x -- stat -c %s /root/toomuch)"
}

run_tests "$@"
