#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_exec.sh - exec: status, streams, signals, terminal, memory
. "${srcdir:-.}/tests/ctl/lib.sh"
start_node

run exec sb_1 -- exit 0
check "exit 0" exits 0
run exec sb_1 -- exit 3
check "the command's own status" exits 3
run exec sb_1 -- exit 255
check "255 too" exits 255
run exec sb_1 -- kill 9
check "killed by 9: 137" exits 137
run exec sb_2 -- exit 0
check "unknown sandbox: 1" exits 1
check "unknown sandbox: code" says SANDBOX_NOT_FOUND:
run exec sb_1 -- nosuch
check "no such program: code" says FILE_NOT_FOUND:
run exec sb_1 -- args 'a b' '' --flag '*'
check "arguments arrive as they are" prints "a b

--flag
*"
run exec sb_1 --cwd /x --user u --timeout 2s --env K=V -- spec
check "what it runs with" prints "cwd=/x user=u timeout=2000
K=V"
run exec sb_1 -- err oops
check "stderr is stderr" [ "$out|$err" = "|oops" ]
run exec sb_1 --json -- err oops
check "JSON: one object" contains '"exitCode":0,"signal":0,"signalName":"","durationMs":"7","timedOut":false,"stdout":"","stderr":"b29wcw=="'

# standard input
head -c 3000000 /dev/urandom >"$dir/random"
"$ctl" exec -i sb_1 -- cat <"$dir/random" >"$dir/back"
check "a file through cat" cmp -s "$dir/random" "$dir/back"
cat "$dir/random" | "$ctl" exec -i sb_1 -- cat | cat >"$dir/back"
check "pipes through cat" cmp -s "$dir/random" "$dir/back"
head -c 100000000 /dev/zero | "$ctl" exec -i sb_1 -- count >"$dir/out"
check "100 MB of input" [ "$(cat "$dir/out")" = 100000000 ]
run exec -i sb_1 -- cat
out=$("$ctl" exec -i sb_1 -- cat </dev/null)
check "empty input" prints ""

# output
"$ctl" exec sb_1 -- bytes 1000000 >"$dir/bytes"
want=$(perl -e 'print pack("C*", map { ($_ * 31 >> 3) & 255 } 0..999999)' | sha256sum)
check "bytes are what was sent" [ "$(sha256sum <"$dir/bytes")" = "$want" ]
"$ctl" exec sb_1 -- bytes 100000000 | wc -c >"$dir/out"
check "100 MB of output" [ "$(cat "$dir/out")" = 100000000 ]

# A reader that does not read: we must not hold what it leaves.
mkfifo "$dir/fifo"
"$ctl" exec sb_1 -- bytes 100000000 >"$dir/fifo" &
pid=$!
exec 3<"$dir/fifo"
head -c 65536 <&3 >/dev/null
is_stopped() {
	a=$(cut -d' ' -f14 "/proc/$pid/stat")
	sleep 0.2
	[ "$a" = "$(cut -d' ' -f14 "/proc/$pid/stat")" ]
}
wait_for is_stopped
rss=$(awk '/VmRSS/ { print $2 }' "/proc/$pid/status")
node_rss=$(awk '/VmRSS/ { print $2 }' "/proc/$node/status")
# The sanitizers keep what was freed, up to 256 MB; ours without them is under 20.
limit=30000
grep -q fsanitize "$builddir/config.status" && limit=600000
check "memory is bounded: $rss kB" [ "$rss" -lt "$limit" ]
check "and the node's: $node_rss kB" [ "$node_rss" -lt "$limit" ]
exec 3<&-
wait "$pid"
status=$?
check "reader gone: as by SIGPIPE" exits 141

# signals
# What is waited for must not be there from before: the shell that begins the
# command in the background empties the file, some time.
: >"$dir/out"
"$ctl" exec sb_1 -- signals >"$dir/out" &
pid=$!
wait_for grep -q ready "$dir/out"
kill -INT "$pid"
wait_for grep -q "signal 2" "$dir/out"
check "SIGINT goes to the command" grep -q "signal 2" "$dir/out"
kill -USR1 "$pid"
wait_for grep -q "signal 10" "$dir/out"
kill -TERM "$pid"
wait "$pid"
status=$?
check "SIGTERM ended the command" exits 143
: >"$dir/out"
"$ctl" exec sb_1 -- signals >"$dir/out" &
pid=$!
wait_for grep -q ready "$dir/out"
kill -INT "$pid"
wait_for grep -q "signal 2" "$dir/out"
kill -INT "$pid"
two() { [ "$(grep -c "signal 2" "$dir/out")" = 2 ]; }
wait_for two
kill -INT "$pid"
wait "$pid"
status=$?
check "the third SIGINT ends us" exits 130

# terminal
# tty COMMAND: run it on a terminal of its own
tty() { script -qec "$1" /dev/null </dev/null >"$dir/out" 2>&1; }
if command -v script >/dev/null; then
	tty "stty rows 33 cols 77; \
(until grep -q '33 77' $dir/out; do sleep 0.05; done; \
stty rows 40 </dev/tty) & \
$ctl exec -i -t sb_1 -- size; stty -a" || :
	check "the terminal's size" grep -q "33 77" "$dir/out"
	check "and its new one" grep -q "resized 40 77" "$dir/out"
	check "cooked again" grep -q " icanon" "$dir/out"
	tty "$ctl exec -i -t sb_2 -- size; stty -a"
	check "cooked after an error" grep -q " icanon" "$dir/out"
	tty "$ctl exec -i -t sb_1 -- hangup; stty -a"
	check "cooked after a lost connection" grep -q " icanon" "$dir/out"
	wait "$node"
	start_node
fi
run exec sb_1 -- hangup
check "connection lost: 3" exits 3
