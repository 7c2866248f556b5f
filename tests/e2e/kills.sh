#!/bin/bash
# kills.sh - a guest's QEMU is killed at each step of what the daemon does to it
#
# The daemon of a node of its own runs under tests/crash/crashpoint, which stops
# it before each change it makes to the outside (files, netlink, libvirt, front)
# and kills QEMU there: the newest of the node, or the oldest where there are
# two. Whatever the moment, the sandbox is RUNNING as it was, or PAUSED with a
# snapshot that resumes, or it is TERMINATED because its only guest died; it can
# be terminated, and nothing is left.
#
# The daemon itself is killed in the same way while it merges the disk layers of
# a paused sandbox; what else kills it is tests/crash.
#
# E2E_KILLS=N: so many points of each operation, evenly spread; all: each one at
# which there is a QEMU (an hour under emulation). Else one point of three
# operations, others in each run. Lines "# ..." tell.
. "$(dirname "$0")/lib.sh"
points=${E2E_KILLS:-}
hook=$work/hook
serial=0

daemon() { pgrep -f "^$build/sandboxd --config $work/kill/sandboxd.conf"; }
no_daemon() { ! daemon; }

# In crashpoint's hands; its guests are those of the one before.
start_traced() {
    ip netns exec "${netns}kill" setsid "$build/tests/crash/crashpoint" --hook "$hook" \
        "$build/sandboxd" --config "$work/kill/sandboxd.conf" \
        >>"$work/kill/log" 2>&1 </dev/null 3>&- &
    wait_for 30 daemon
    daemon >"$work/kill/run/sandboxd.pid"
    wait_for 60 "$ctl" --connect "unix:$work/kill/run/node.sock" node
}

prepare() (
    set -e
    start_beside kill --set pool.min=0
    [ -x "$build/tests/crash/crashpoint" ] || make -s -C "$build" tests/crash/crashpoint
    mkdir "$hook"
    # What a run of it kills, and that it is dead when the daemon goes on.
    cat >"$hook/run" <<END
#!/bin/bash
echo "\$1 \$2" >hit
case \$(cat which) in
look) ! pgrep -f "qemu-system.*$work/kill/guests/" >/dev/null || cut -d' ' -f2 seen >>there; exit ;;
daemon) kill -KILL "\$(cat "$work/kill/run/sandboxd.pid")" && exit ;;
esac
victim=\$(pgrep "\$(cat which)" -f "qemu-system.*$work/kill/guests/") || exit 0
kill -KILL "\$victim" && echo "\$victim" >killed
while grep -q '^State:[[:space:]]*[RSDT]' "/proc/\$victim/status" 2>/dev/null; do :; done
END
    chmod +x "$hook/run"
    kill "$(daemon)"
    wait_for 30 no_daemon
    start_traced
)

# arm K - kill before the K-th change from now on; "0 every": look at each
arm() {
    serial=$(($(date +%s%N) / 1000))
    rm -f "$hook/hit" "$hook/killed"
    echo "$serial $1" >"$hook/at.new"
    mv "$hook/at.new" "$hook/at"
}

# disarm -> how many there were in $seen
disarm() {
    local of
    echo "0 0" >"$hook/at.new"
    mv "$hook/at.new" "$hook/at"
    read -r of seen <"$hook/seen" || :
    [ "$of" = "$serial" ] || seen=0
}

# ---- what must hold ----

# Each has a state that lasts, and those that run answer.
settled() {
    case $(state_of "$1") in
    SANDBOX_STATE_TERMINATED | SANDBOX_STATE_PAUSED) ;;
    SANDBOX_STATE_RUNNING) timeout 20 "$ctl" exec "$1" -- true ;;
    *) return 1 ;;
    esac
}

# legal ID MARKS GONE - it is one of the three, with a memory and a disk of one
# time; GONE: it may be terminated
legal() {
    local memory disk
    wait_for 60 settled "$1"
    if [ "$(state_of "$1")" = SANDBOX_STATE_TERMINATED ]; then
        [ -n "$3" ] || {
            echo "'$1' is TERMINATED though it had a snapshot"
            return 1
        }
        expect GUEST_GONE "$("$ctl" --json get "$1" | json stateReason)"
        return
    fi
    memory=$("$ctl" exec "$1" -- cat /dev/shm/f)
    disk=$("$ctl" exec "$1" -- cat /root/f)
    expect "$memory" "$disk"
    case " $2 " in
    *" $memory "*) ;;
    *)
        echo "'$1' is of '$memory', not of: $2"
        return 1
        ;;
    esac
}

no_guest() { ! pgrep -f "qemu-system.*$work/kill/guests/" && [ -z "$(ls -A "$work/kill/guests")" ]; }

all_snapshots() {
    "$ctl" --json snapshot list | python3 -c '
import json, sys
print(*(s["id"] for s in json.load(sys.stdin)), sep="\n")'
}

all_ids() {
    "$ctl" --json list --limit 100 | python3 -c '
import json, sys
print(*(s["id"] for s in json.load(sys.stdin) if "TERMINAT" not in s["state"]), sep="\n")'
}

# End all there is; nothing is left of it, in files either.
end_all() {
    local one
    for one in $(all_ids); do "$ctl" terminate "$one" >/dev/null; done
    for one in $(all_snapshots); do "$ctl" snapshot remove "$one" >/dev/null; done
    wait_for 30 no_guest
    "$ctl" fsck
    expect "" "$(ls "$work/kill/snapshots")"
}

# ---- operations: before_X, do_X and after_X ----

mark() { "$ctl" exec "$id" -- sh -c "echo $1 >/root/f; echo $1 >/dev/shm/f; sync"; }

fresh() {
    id=$("$ctl" --json create --image "$image" --memory 2048 --timeout 30m --idle-timeout 30m | json id)
    mark one
}

again() {
    fresh
    "$ctl" pause "$id" >/dev/null
    "$ctl" resume "$id" >/dev/null
    mark two
}

saved() {
    fresh
    "$ctl" snapshot create "$id" --name s >/dev/null
    mark two
}

patience=120
patiently() { timeout -s KILL "$patience" "$@"; }

before_pause() { fresh; }
do_pause() { patiently "$ctl" pause "$id"; }
after_pause() { legal "$id" one gone; }

before_pause_again() { again; }
do_pause_again() { patiently "$ctl" pause "$id"; }
after_pause_again() { legal "$id" "one two" ""; }

before_resume() {
    again
    "$ctl" pause "$id" >/dev/null
}
do_resume() { patiently "$ctl" resume "$id"; }
after_resume() { legal "$id" two ""; }

before_snapshot() { fresh; }
do_snapshot() { patiently "$ctl" snapshot create "$id" --name s; }
after_snapshot() {
    local snap fork
    legal "$id" one gone
    snap=$(all_snapshots)
    [ "$did" != 0 ] || [ -n "$snap" ]
    [ -z "$snap" ] || {
        fork=$("$ctl" fork "$snap" --snapshot)
        legal "$fork" one ""
    }
}

# It goes on as it was, or from the snapshot; killed, from none but that.
before_restore() { saved; }
do_restore() { patiently "$ctl" restore "$id" s; }
after_restore() {
    legal "$id" "one two" gone
    [ "$(state_of "$id")" = SANDBOX_STATE_TERMINATED ] || {
        "$ctl" restore "$id" s >/dev/null
        legal "$id" one ""
    }
}

before_restore_paused() {
    saved
    "$ctl" pause "$id" >/dev/null
}
do_restore_paused() { patiently "$ctl" restore "$id" s; }
after_restore_paused() { legal "$id" "one two" gone; }

before_fork() { fresh; }
do_fork() { patiently "$ctl" fork "$id"; }
after_fork() {
    local one n=0
    for one in $(all_ids); do
        legal "$one" one gone
        n=$((n + 1))
    done
    [ $n -le 2 ]
}

before_fork_paused() {
    fresh
    "$ctl" pause "$id" >/dev/null
}
do_fork_paused() { patiently "$ctl" fork "$id"; }
after_fork_paused() {
    legal "$id" one ""
    after_fork
}

before_template() {
    local one
    for one in $("$ctl" --json template list | python3 -c '
import json, sys
print(*(t["id"] for t in json.load(sys.stdin)), sep="\n")'); do
        "$ctl" template remove "$one" >/dev/null
    done
}
do_template() { patiently "$ctl" template build --image "$image" --memory 2048; }
after_template() {
    "$ctl" template build --image "$image" --memory 2048 >/dev/null
    fresh
    legal "$id" one ""
}

# at OPERATION K - with a kill before the K-th change
at() {
    did=0
    "before_$1"
    arm "$2"
    "do_$1" >"$work/did" 2>&1 || did=$?
    disarm
    # A client that hung was ended: a bug, too.
    [ $did -ne 137 ]
    "after_$1"
    end_all
}

# tried OPERATION K - in a shell of its own, for what it leaves
tried() {
    local rc
    # Not before "||": set -e would not hold in there.
    set +e
    (set -e; at "$1" "$2") >"$work/at" 2>&1
    rc=$?
    set -e
    [ $rc -eq 0 ] || {
        echo "$1, killed before change $2 ($(cat "$hook/hit" 2>/dev/null)):"
        cat "$work/at" "$work/did"
        (end_all) || :
        return 1
    }
}

# there OPERATION - the points of it at which there is a QEMU, into the array
# where; and $total, of all. Of many writes to a file in a row the first ones, one
# in the middle and the last. One more is tried on both sides: no two runs are quite
# alike.
there() {
    local patience=600
    echo look >"$hook/which"
    rm -f "$hook/there"
    at "$1" "0 every"
    total=$seen
    mapfile -t where < <(awk '
        NR > 1 && $1 > before + 3 { print int((before + $1) / 2) }
        { for (k = $1 - 1; k <= $1 + 1; k++) if (k > 0) print k; before = $1 }' \
        "$hook/there" | sort -nu)
    [ ${#where[@]} -gt 5 ]
}

# kill_in OPERATION [-n|-o]: the newest QEMU or the oldest
kill_in() {
    local where=() total i=0 step=1 tried=0 killed=0
    if [ -z "$points" ]; then
        # The first half of a start has none.
        where=($((30 + RANDOM % 80))) total=110
    else
        there "$1"
        if [ "$points" != all ]; then
            step=$(((${#where[@]} + points - 1) / points))
            i=$((RANDOM % step))
        fi
    fi
    printf '%s\n' "${2:--n}" >"$hook/which"
    while [ $i -lt ${#where[@]} ]; do
        tried "$1" "${where[i]}"
        tried=$((tried + 1))
        [ ! -e "$hook/killed" ] || killed=$((killed + 1))
        i=$((i + step))
    done
    echo "# $1 (${2:--n}): tried $tried${points:+ of the ${#where[@]} points with a QEMU}, of $total; killed $killed"
}

test_killed_in_a_pause() { kill_in pause; }
test_killed_in_a_second_pause() { kill_in pause_again; }
test_killed_in_a_resume() { kill_in resume; }
test_killed_in_a_snapshot() { kill_in snapshot; }
test_killed_in_a_restore_the_new_one() { kill_in restore -n; }
test_killed_in_a_restore_the_old_one() { kill_in restore -o; }
test_killed_in_a_restore_of_what_is_paused() { kill_in restore_paused; }
test_killed_in_a_fork_the_new_one() { kill_in fork -n; }
test_killed_in_a_fork_the_old_one() { kill_in fork -o; }
test_killed_in_a_fork_of_what_is_paused() { kill_in fork_paused; }
test_killed_in_the_build_of_a_template() { kill_in template; }

# ---- the daemon, while layers are merged ----

newest() { ls -td "$work"/kill/snapshots/snap_* | head -1; }
layers() { find "$(newest)" -name 'disk.*' | wc -l; }
nothing_beside() { [ -z "$(ls -A "$work/kill/guests")" ] && [ -z "$(find "$work/kill/snapshots" -maxdepth 1 -name '*merge*')" ]; }
is_merged() { [ "$(layers)" = 1 ] && nothing_beside; }
cut_or_merged() { no_daemon || is_merged; }

# A chain that is merged when the last pause has returned.
before_merge() {
    local i
    fresh
    for i in $(seq 9); do
        [ "$i" = 1 ] || "$ctl" resume "$id" >/dev/null
        mark "$i"
        "$ctl" exec "$id" -- sh -c "head -c 300000 /dev/urandom >/root/f$i; sha256sum /root/f$i >>/root/sums; sync"
        "$ctl" pause "$id" >/dev/null
    done
}
do_merge() { wait_for 120 cut_or_merged; }
after_merge() {
    if [ -e "$hook/hit" ]; then
        wait_for 10 no_daemon
        start_traced
    fi
    expect SANDBOX_STATE_PAUSED "$(state_of "$id")"
    wait_for 90 is_merged
    "$ctl" fsck
    legal "$id" 9 ""
    "$ctl" exec "$id" -- sh -c 'echo 3 >/proc/sys/vm/drop_caches; sha256sum -c --quiet /root/sums'
}

test_the_daemon_killed_in_a_merge() {
    local k=1 step=1 n=0
    echo daemon >"$hook/which"
    case $points in
    "") k=$((1 + RANDOM % 40)) step=1000 ;;
    all) ;;
    *) step=$(((60 + points - 1) / points)) k=$((1 + RANDOM % step)) ;;
    esac
    while tried merge $k; do
        [ -e "$hook/hit" ] || break
        echo "# killed in a merge before change $k: $(cat "$hook/hit")"
        n=$((n + 1))
        k=$((k + step))
        [ $step -lt 1000 ] || return 0
    done
    [ $n -gt 0 ]
}

start_node
prepare >"$work/out" 2>&1
prepared=$?
[ $prepared -eq 0 ] || {
    echo "FAIL a_node_starts"
    sed 's/^/    /' "$work/out" | tail -20
    finish
    exit 1
}
export SANDBOXD_CONNECT=unix:$work/kill/run/node.sock
if [ $# -eq 0 ] && [ -z "$points" ]; then
    # shellcheck disable=SC2046
    set -- $(declare -F | sed -n 's/^declare -f test_//p' | shuf -n 3)
fi
run_tests "$@"
