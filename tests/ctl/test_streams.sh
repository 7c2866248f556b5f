#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_streams.sh - events, images, snapshots, port forward
. "${srcdir:-.}/tests/ctl/lib.sh"
start_node

# blocked ARG..: a command that prints more than a pipe holds to one that is open
# and never read. It is ended by SIGTERM once it has filled it.
blocked() {
	mkfifo "$dir/fifo"
	exec 3<>"$dir/fifo"
	"$ctl" "$@" >"$dir/fifo" &
	pid=$!
	wait_for sleeps_in_write "$pid"
	kill -TERM "$pid"
	wait_for ended "$pid" && wait "$pid"
	status=$?
	kill -KILL "$pid" 2>/dev/null
	exec 3>&-
	rm "$dir/fifo"
}
sleeps_in_write() { read -r nr _ <"/proc/$1/syscall" && [ "$nr" = 1 ]; }
ended() { grep -qs '^State:.Z' "/proc/$1/status" || ! kill -0 "$1" 2>/dev/null; }
if [ "$(uname -m)" = x86_64 ] && [ -r "/proc/$$/syscall" ]; then
	head -c 700000 /dev/zero >"$root/big"
	blocked cat sb_1 /big
	check "cat to a pipe that nobody reads ends by SIGTERM" exits 143
	mkdir "$root/many"
	(cd "$root/many" && seq -f 'a-file-of-a-long-enough-name-%g' 3000 | xargs touch)
	blocked --json ls sb_1 /many
	check "ls too" exits 143
	rm -r "$root/big" "$root/many"
fi

run events
check "events: all there are" [ "$(wc -l <"$dir/out")" = 3 ]
check "events: nothing for the terminal" [ -z "$(tr -cd '\033' <"$dir/out")" ]
run events --json --since 2
check "CloudEvents" prints '{"specversion":"1.0","id":"3","source":"sandboxd","type":"sandbox.terminated","subject":"sb_1","time":"2023-11-14T22:13:20Z","sequence":"3","datacontenttype":"application/json","data":{"sandboxId":"sb_1","reason":"a \"quoted\"\n\u001b[31mword"}}'
: >"$dir/out"
"$ctl" events --follow >"$dir/out" &
pid=$!
has_three() { [ "$(wc -l <"$dir/out")" = 3 ]; }
wait_for has_three
kill -INT "$pid"
wait "$pid"
status=$?
check "follow, until interrupted: 130" exits 130

head -c 700000 /dev/urandom >"$dir/archive"
run image import "$dir/archive" --name i
check "import: all bytes" prints "imported bytes:700000"
check "import: steps are said" says unpacking
cat "$dir/archive" | "$ctl" image import - --name i >"$dir/out" 2>/dev/null
check "import from a pipe" [ "$(cat "$dir/out")" = "imported bytes:700000" ]
run image import "$dir/archive"
check "import without a name: 2" exits 2
run image import "$dir/nosuch" --name i
check "import of nothing: 1" exits 1

cat >"$dir/build" <<END
#!/bin/sh
case \$1 in
good) cat "$dir/archive" ;;
bad) head -c 1000 "$dir/archive"; exit 5 ;;
slow) echo \$\$ >"$dir/slow.pid"; sleep 100 & wait ;;
esac
END
chmod +x "$dir/build"
SANDBOXD_IMAGE_BUILD=$dir/build
export SANDBOXD_IMAGE_BUILD
run image build good --name i
check "build: all bytes" prints "imported bytes:700000"
run image build bad --name i
check "a build that fails: 1" exits 1
check "a build that fails: no image" prints ""
check "a build that fails: its status" says "status 5"
: >"$dir/out"
"$ctl" image build slow --name i >"$dir/out" 2>&1 &
pid=$!
wait_for test -s "$dir/slow.pid"
kill -INT "$pid"
wait "$pid"
status=$?
check "a build interrupted: 130" exits 130
gone() { ! kill -0 "$(cat "$dir/slow.pid")" 2>/dev/null; }
check "its program is ended" wait_for gone

run snapshot export snap_1 "$dir/snap"
check "export: the file" [ "$(wc -c <"$dir/snap")" = 1000 ]
check "export: for its owner" [ "$(stat -c %a "$dir/snap")" = 600 ]
run snapshot export snap_bad "$dir/snap2"
check "a bad export: 1" exits 1
check "a bad export leaves nothing" [ -z "$(find "$dir" -name "snap2*")" ]
"$ctl" snapshot export snap_1 - >"$dir/snap3"
check "export to a pipe" cmp -s "$dir/snap" "$dir/snap3"

# port forward: what is sent comes back
"$ctl" port forward sb_1 0:7 >"$dir/addr" 2>"$dir/fwd.err" &
pid=$!
wait_for test -s "$dir/addr"
port=$(sed 's/.*://' "$dir/addr")
cat >"$dir/echo.pl" <<'END'
use IO::Socket::INET;
my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$ARGV[0]") or die;
open my $f, '<', $ARGV[1] or die;
binmode STDOUT;
if (!fork) { my $b; print $s $b while read $f, $b, 65536; $s->flush;
	shutdown $s, 1; exit 0 }
my $b; print $b while sysread $s, $b, 65536;
END
perl "$dir/echo.pl" "$port" "$dir/archive" >"$dir/back"
check "forward: there and back, with half-close" cmp -s "$dir/archive" "$dir/back"
for i in 1 2 3 4 5 6 7 8; do
	perl "$dir/echo.pl" "$port" "$dir/archive" >"$dir/back$i" &
	eval "p$i=\$!"
done
wait "$p1" "$p2" "$p3" "$p4" "$p5" "$p6" "$p7" "$p8"
same=0
for i in 1 2 3 4 5 6 7 8; do
	cmp -s "$dir/archive" "$dir/back$i" && same=$((same + 1))
done
check "forward: eight at once" [ "$same" = 8 ]
kill -INT "$pid"
wait "$pid"
status=$?
check "forward, interrupted: 0" exits 0
run port forward sb_2 0:7
check "forward: no such sandbox" says SANDBOX_NOT_FOUND
run port forward sb_1 7
check "forward: bad ports: 2" exits 2
