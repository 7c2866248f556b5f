#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# suite.sh - a node as users get it: its service, KVM guests, vsock, mTLS
#
# Run by scripts/node-rig, which says how to reach it: $NODE_RIG runs the script
# itself. Closes with "N passed, N failed".
set -u
rig=${NODE_RIG:?}
ctl="$rig ctl"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0

# check WHAT COMMAND..
check()
{
	what=$1
	shift
	if "$@" > "$tmp/out" 2>&1; then
		passed=$((passed + 1))
		echo "PASS $what"
	else
		failed=$((failed + 1))
		echo "FAIL $what"
		sed 's/^/    /' "$tmp/out" | tail -n 15
	fi
}

# prints WANT COMMAND..
prints()
{
	want=$1
	shift
	got=$("$@" 2>&1)
	[ "$got" = "$want" ] || {
		echo "want: $want"
		echo "got:  $got"
		return 1
	}
}

# within SECONDS COMMAND.. - until it succeeds
within()
{
	end=$(($(date +%s) + $1))
	shift
	until "$@" > "$tmp/last" 2>&1; do
		[ "$(date +%s)" -lt "$end" ] || {
			cat "$tmp/last"
			return 1
		}
	done
}

exits()
{
	want=$1
	shift
	"$@"
	[ $? = "$want" ]
}

field()
{
	$ctl --json "$1" ${2:+"$2"} | tr ',{}' '\n\n\n' |
		sed -n "s/^\"$3\":\"\{0,1\}\([^\"]*\).*/\1/p" | head -n 1
}

finish()
{
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
	exit
}

image=debian:12

check "the service is active" \
	within 120 prints active $rig run systemctl is-active sandboxd
check "KVM is what runs guests" \
	prints ACCELERATOR_KVM field node "" accelerator
check "agents are reached over vsock" prints vsock field node "" agentLink
if ! $ctl image list | grep -q "^$image "; then
	check "import an image from outside" \
		$ctl image import "${NODE_RIG_IMAGE:?}" --name $image
fi
check "doctor finds nothing bad" $ctl doctor
id=$($ctl create --image $image --memory 2048 --timeout 1h --idle-timeout 1h)
check "create a sandbox" test -n "$id"
[ -n "$id" ] || finish
check "its QEMU uses KVM" $rig run \
	"grep -lq accel=kvm /proc/[0-9]*/cmdline || pgrep -f 'qemu.*kvm'"
check "its vsock is the host's" $rig run "pgrep -f vhost-vsock-pci"
check "exec" prints "hello from Linux" \
	$ctl exec "$id" -- sh -c 'echo "hello from $(uname)"'
check "exit status" exits 7 $ctl exec "$id" -- sh -c 'exit 7'
check "a missing program" exits 1 $ctl exec "$id" -- /no/such/program
check "a signal" exits 137 $ctl exec "$id" -- sh -c 'kill -9 $$'

# in_cgroup SCRIPT - in the machine, with $q the guest's QEMU, $scope its cgroup
# and $inner where it is in it: others go there and want everything.
in_cgroup()
{
	$rig run "q=\$(pgrep -f 'qemu-system.*guest=sbx' | head -n 1)
		scope=/sys/fs/cgroup\$(cut -d: -f3 /proc/\$q/cgroup)
		scope=\${scope%%.scope/*}.scope
		inner=\$scope/libvirt
		export inner scope q
		printf '%s\n' '#!/bin/sh' 'echo \$\$ > \"\$inner/cgroup.procs\"' \
			'exec \"\$@\"' > /tmp/enter
		$1"
}
check "memory of its cgroup is its own and what QEMU needs" \
	prints $((2560 << 20)) in_cgroup 'cat $scope/memory.max'
# Lowered for a moment: this machine has less memory than would be needed.
check "who takes more is killed, and the guest lives" in_cgroup '
	now=$(cat $scope/memory.current)
	before=$(awk "/^oom_kill / { print \$2 }" $scope/memory.events)
	systemctl set-property --runtime "${scope##*/}" \
		MemoryMax=$((now + (64 << 20))) || exit 1
	sh /tmp/enter sh -c "echo 1000 > /proc/self/oom_score_adj
		head -c 300000000 /dev/zero | tail -c 300000000" > /dev/null
	systemctl set-property --runtime "${scope##*/}" MemoryMax=2560M
	[ "$(awk "/^oom_kill / { print \$2 }" $scope/memory.events)" -gt "$before" ] &&
		kill -0 $q'
# This one too, or an emulated machine is not fast enough to reach it.
check "tasks end at the limit" in_cgroup '
	[ "$(cat $scope/pids.max)" = 256 ] || exit 1
	max=$(($(cat $scope/pids.current) + 20))
	systemctl set-property --runtime "${scope##*/}" TasksMax=$max || exit 1
	sh /tmp/enter sh -c "i=0; while [ \$i -lt 60 ]; do sleep 30 & i=\$((i + 1)); done"
	n=$(cat $scope/pids.current)
	grep -q "^max [1-9]" $scope/pids.events
	full=$?
	systemctl set-property --runtime "${scope##*/}" TasksMax=256
	for p in $(cat $inner/cgroup.procs); do
		! grep -qs sleep /proc/$p/comm || kill $p
	done
	echo "$n of $max, refused: $full"
	[ "$n" -le "$max" ] && [ $full = 0 ]'
# The limit is two CPUs, which is all that this machine has: a lower one shows
# that it is the cgroup that holds it.
check "CPU time is what was given" in_cgroup '
	[ "$(cat $scope/cpu.max)" = "200000 100000" ] || exit 1
	[ "$(cat $scope/cpu.weight)" = 200 ] || exit 1
	systemctl set-property --runtime "${scope##*/}" CPUQuota=20% || exit 1
	sh /tmp/enter timeout 5 sh -c "while :; do :; done" &
	a=$(awk "/^usage_usec/ { print \$2 }" $scope/cpu.stat)
	wait
	b=$(awk "/^usage_usec/ { print \$2 }" $scope/cpu.stat)
	systemctl set-property --runtime "${scope##*/}" CPUQuota=200%
	echo "$((b - a)) us in 5 s at 20 %"
	[ $((b - a)) -gt 100000 ] && [ $((b - a)) -lt 2500000 ]'
check "writes are slowed to the limit" in_cgroup '
	grep -q "wbps=20000000" $scope/io.max || { cat $scope/io.max; exit 1; }
	began=$(date +%s)
	sh /tmp/enter dd if=/dev/zero of=/var/lib/sandboxd/big bs=1M count=100 \
		oflag=direct status=none || exit 1
	rm /var/lib/sandboxd/big
	took=$(($(date +%s) - began))
	echo "100 MB in $took s at 20 MB/s"
	[ $took -ge 4 ]'
check "the guest is well after all that" prints well $ctl exec "$id" -- echo well

head -c 20000000 /dev/urandom > "$tmp/data"
check "a file in" $ctl cp "$tmp/data" "$id:/tmp/data"
check "a file out" $ctl cp "$id:/tmp/data" "$tmp/back"
check "it is the same" cmp "$tmp/data" "$tmp/back"
through_cat()
{
	$ctl exec -i "$id" -- cat < "$tmp/data" > "$tmp/back" &&
		cmp "$tmp/data" "$tmp/back"
}
check "20 MB through cat" through_cat
mkdir -p "$tmp/tree/sub"
echo x > "$tmp/tree/sub/file"
ln -s sub/file "$tmp/tree/link"
check "a tree in" $ctl cp "$tmp/tree" "$id:/tmp/tree"
check "search in it" $ctl search "$id" x /tmp/tree

check "something that goes on" $ctl exec "$id" --background -- sh -c \
	'i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; sleep 0.1; done'
check "pause" $ctl pause "$id"
check "it is paused" prints SANDBOX_STATE_PAUSED field get "$id" state
check "resume" $ctl resume "$id"
counted() { $ctl exec "$id" -- cat /tmp/count; }
counts_on() { [ "$(counted)" -gt "$first" ]; }
goes_on()
{
	first=$(counted) && within 60 counts_on
}
check "what went on goes on" goes_on

main_pid() { $rig run systemctl show -P MainPID sandboxd; }
restart()
{
	$rig run systemctl restart sandboxd && within 120 $ctl node
}
killed()
{
	pid=$(main_pid) && $rig run kill -9 "$pid" &&
		within 120 is_another "$pid" && within 120 $ctl node
}
is_another()
{
	new=$(main_pid) && [ "$new" != 0 ] && [ "$new" != "$1" ]
}

# Settings of its own: $1 in [limits].
conf=/etc/sandboxd/sandboxd.conf.d/z-suite.conf
reload()
{
	$rig run "printf '[limits]\n%s\n' '$1' > $conf
		systemctl reload sandboxd"
}
full() { exits 1 $ctl create --image $image --memory 2048 2> "$tmp/full" &&
	grep -q "RESOURCE_EXHAUSTED" "$tmp/full"; }
# What may change changes, and nothing else notices.
reloads()
{
	pid=$(main_pid) && reload "sandboxes_max = 1" && within 20 full &&
		prints 1 field node "" sandboxesMax && prints "$pid" main_pid &&
		goes_on
}
# The one who reloads is told, and the journal says which key.
reload_fails()
{
	pid=$(main_pid)
	! reload "sandboxes_max = many" || return 1
	$rig run "journalctl -u sandboxd -n 20 -o cat" | tee "$tmp/journal"
	grep -q "z-suite.conf:2:.*sandboxes_max" "$tmp/journal" &&
		prints 1 field node "" sandboxesMax && prints "$pid" main_pid
}
# The daemon, when nobody asked before.
hangup_fails()
{
	$rig run "kill -HUP $(main_pid)" && within 20 $rig run \
		"journalctl MESSAGE_ID=824d3fad0e2c45c9aa4e7ed36b456dd9 -n 1 -o cat |
			grep 'stays as it was.*sandboxes_max'" &&
		prints 1 field node "" sandboxesMax
}
reloads_back()
{
	$rig run "rm $conf && systemctl reload sandboxd" &&
		within 20 prints 1000 field node "" sandboxesMax
}
check "systemctl reload changes a limit" reloads
check "a wrong value fails the reload" reload_fails
check "and a SIGHUP" hangup_fails
check "the limit is back" reloads_back

# journald's fields.
check "the journal knows lines by sandbox and kind" prints 1 $rig run \
	"journalctl SANDBOX_ID=$id MESSAGE_ID=09e61ac504b3440095fd0f77f9508da9 -o json |
		grep -c '\"MESSAGE\":\"sandbox .$id.: PAUSED'"

# Of the watchdog, in a time that a test has.
sooner=/run/systemd/system/sandboxd.service.d
$rig run "mkdir -p $sooner && printf '[Service]\nWatchdogSec=4\n' > $sooner/suite.conf &&
	systemctl daemon-reload"
check "restart the service" restart
check "the sandbox is still there" prints x \
	$ctl exec "$id" -- cat /tmp/tree/sub/file
hangs()
{
	pid=$(main_pid) && $rig run kill -STOP "$pid" &&
		within 60 is_another "$pid" && within 120 $ctl node &&
		$rig run journalctl -u sandboxd -n 30 -o cat |
		grep "Watchdog timeout (limit 4s)"
}
check "a daemon that hangs is replaced by the watchdog" hangs
check "what went on went on" goes_on
$rig run "rm $sooner/suite.conf && systemctl daemon-reload"
check "kill -9 of the daemon" killed
check "and still" prints x $ctl exec "$id" -- cat /tmp/tree/sub/file

qemu_pid() { $rig run "pgrep -f 'qemu-system.*guest=sbx'"; }
stops()
{
	first=$(counted) && pid=$(qemu_pid) &&
		$rig run "systemctl stop sandboxd && sleep 3 &&
		! systemctl is-active sandboxd && ! pgrep -x sandboxd-front" &&
		prints "$pid" qemu_pid && ! $ctl node
}
starts()
{
	$rig run systemctl start sandboxd && within 120 $ctl node &&
		prints "$pid" qemu_pid &&
		prints SANDBOX_STATE_RUNNING field get "$id" state &&
		[ "$(counted)" -gt $((first + 20)) ]
}
check "a stop leaves the guest alone" stops
check "a start takes it back, and it had gone on" starts

check "terminate" $ctl terminate "$id"
check "no client certificate, no answer" exits 3 env SANDBOXD_CONNECT= \
	$rig stranger get "$id"
score=$($rig run systemd-analyze security --no-pager sandboxd |
	sed -n 's/.*level for sandboxd.service: \([0-9.]*\).*/\1/p')
echo "systemd-analyze security: $score"
finish
