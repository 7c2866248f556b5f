#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What may go wrong with snapshots of real guests: damage, a dead QEMU, a full
# disk, our own end. Nothing is half loaded and nothing is lost.
. "${srcdir:-.}/tests/host/hv_lib.sh"
setup

# A byte of file $1 at $2 with all bits turned over.
flip()
{
	byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\$(printf '%03o' $((255 - byte)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

a=$(uuid 1)
hv start "$a"
ask "$a" fill 10 3 >/dev/null
T=$work/templates/t
hv capture "$a" "$T"
b=$(uuid 2)
S=$work/snapshots/s
hv start "$b" "$T"
sum=$(ask "$b" fill 8 4)
hv save "$b" "$T" "$S"
rm -rf "$work/guests/$b"

for part in sandbox.mem.zst sandbox.state.zst disk.0.qcow2 manifest; do
	size=$(stat -c %s "$S/$part")
	for at in 0 $((size / 3)) $((size - 1)); do
		flip "$S/$part" "$at"
		refused 'DATA_LOSS' start "$b" "$T" "$S"
		refused 'DATA_LOSS' verify "$b" - "$S"
		flip "$S/$part" "$at"
	done
	life_is "$b" gone || die "nothing is left of a refused start"
	cp -p "$S/$part" "$work/part"
	truncate -s $((size - 1)) "$S/$part"
	refused 'DATA_LOSS' start "$b" "$T" "$S"
	cp -p "$work/part" "$S/$part"
	mv "$S/$part" "$work/part"
	refused 'DATA_LOSS\|SNAPSHOT_NOT_FOUND' start "$b" "$T" "$S"
	mv "$work/part" "$S/$part"
done
[ -z "$(ls -A "$work/guests/$b")" ] || die "no file is left either"
note "a flipped byte, a cut, a missing part: refused, nothing left"

refused 'INVALID_STATE.*needs its template' start "$b" - "$S"
HV_MEMORY=512 refused 'INVALID_STATE' start "$b" "$T" "$S"
c=$(uuid 3)
hv start "$c"
hv capture "$c" "$work/templates/other"
refused 'another template' start "$b" "$work/templates/other" "$S"
note "another template or size: refused"

hv start "$b" "$T" "$S"
[ "$(ask "$b" sum)" = "$sum" ] || die "unharmed, it is resumed"
refused 'ALREADY_EXISTS' save "$b" "$T" "$S"
[ "$(ask "$b" sum)" = "$sum" ] || die "and runs on when a save is refused"
note "after all that the snapshot is good, and is not overwritten"

# No room: the guest runs on, the directory is gone.
mkdir "$work/small"
mount -t tmpfs -o size=1m none "$work/small"
trap 'umount "$work/small"; cleanup' EXIT
refused 'RESOURCE_EXHAUSTED\|INTERNAL' save "$b" "$T" "$work/small/s"
[ ! -e "$work/small/s" ] || die "a failed save leaves nothing"
life_is "$b" running || die "the guest runs on"
[ "$(ask "$b" sum)" = "$sum" ] || die "as it was"
note "no room: the guest runs on"

# QEMU killed while its pages are read: no snapshot, whatever the moment.
for delay in 0.01 0.02 0.04 0.08; do
	d=$(uuid 4)
	hv start "$d" "$T"
	ask "$d" fill 60 "1$delay" >/dev/null 2>&1 || ask "$d" fill 60 5 >/dev/null
	pid=$(qemu_pid "$d")
	(sleep $delay; kill -9 "$pid") &
	if "$driver" save "$d" "$T" "$work/snapshots/k" 2>/dev/null; then
		hv verify "$d" - "$work/snapshots/k"
		rm -rf "$work/snapshots/k"
	fi
	wait
	[ ! -e "$work/snapshots/k" ] || die "a dead guest leaves no snapshot"
	wait_for life_is "$d" gone
done
note "QEMU killed in mid-save: a whole snapshot or none"

# libvirtd killed in mid-save and back a second later: the guest is not left
# standing.
for delay in 0.01 0.02 0.03 0.05 0.08; do
	d=$(uuid 7)
	hv start "$d" "$T"
	sum=$(ask "$d" fill 60 8)
	(
		sleep $delay
		kill -9 "$(cat "$work/v/libvirtd.pid")"
		sleep 1
		"$srcdir/scripts/private-libvirtd" start "$work/v" >/dev/null
	) &
	if "$driver" save "$d" "$T" "$work/snapshots/l" 2>"$work/stderr"; then
		wait
		hv verify "$d" - "$work/snapshots/l"
		rm -rf "$work/snapshots/l"
		wait_for life_is "$d" gone
	else
		wait
		grep libvirt "$work/stderr" || :
		[ ! -e "$work/snapshots/l" ] || die "no snapshot without commit: $(cat "$work/stderr"; ls "$work/snapshots/l")"
		life_is "$d" running || die "the guest runs on"
		[ "$(ask "$d" sum)" = "$sum" ] || die "as it was"
		hv destroy "$d"
	fi
done
note "libvirtd killed in mid-save: a whole snapshot, or the guest runs on"

# A libvirtd that hangs holds nobody up for long.
kill -STOP "$(cat "$work/v/libvirtd.pid")"
HV_LINK_WAIT_MS=200 timeout 10 "$driver" life "$b" 2>/dev/null |
	grep -qx unknown || die "nobody knows while libvirtd hangs"
kill -CONT "$(cat "$work/v/libvirtd.pid")"
note "a hung libvirtd holds nobody up"

# Ourselves killed in mid-save: the guest stands still and can run on.
for delay in 0.02 0.04 0.06 0.1 0.2; do
	e=$(uuid 5)
	hv start "$e" "$T"
	sum=$(ask "$e" fill 60 6)
	ask "$e" put 4096 before >/dev/null
	"$driver" save "$e" "$T" "$work/snapshots/k" 2>/dev/null &
	pid=$!
	sleep $delay
	kill -9 $pid 2>/dev/null || :
	wait $pid 2>/dev/null || :
	if [ -e "$work/snapshots/k/manifest" ]; then
		hv destroy "$e"
		hv start "$e" "$T" "$work/snapshots/k"
	else
		rm -rf "$work/snapshots/k"
		life_is "$e" running || hv release "$e" "$T"
	fi
	[ "$(ask "$e" sum)" = "$sum" ] || die "memory after the kill at $delay"
	[ "$(ask "$e" get 4096)" = before ] || die "disk after it"
	hv save "$e" "$T" "$work/snapshots/k2"
	hv start "$e" "$T" "$work/snapshots/k2"
	[ "$(ask "$e" sum)" = "$sum" ] || die "and after another save"
	hv destroy "$e"
	rm -rf "$work/snapshots/k" "$work/snapshots/k2"
done
note "ourselves killed in mid-save: the guest goes on, or the snapshot is whole"

# A template that somebody wrote to is not used again.
hv verify-template "$b" "$T"
flip "$T/template.ram" $((5 << 20))
refused 'DATA_LOSS' start "$(uuid 6)" "$T"
[ -d "$T.quarantined" ] && [ ! -e "$T" ] || die "it is moved aside"
note "an altered template is moved aside"
