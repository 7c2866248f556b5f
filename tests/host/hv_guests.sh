#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Real guests under QEMU: cold boot, template, clones, pause and resume.
. "${srcdir:-.}/tests/host/hv_lib.sh"
setup

a=$(uuid 1)
hv start "$a"
life_is "$a" running || die "a cold guest runs"
sum=$(ask "$a" fill 20 7)
[ -n "$sum" ] || die "its agent answers"
"$driver" list "$a" 2>/dev/null | grep -qx "$a" || die "it is listed"
"$driver" console "$a" 2>/dev/null | grep -q 'guest ready' ||
	die "its console is kept"
note "a guest boots cold and answers"

T=$work/templates/t
hv capture "$a" "$T"
life_is "$a" gone || die "the template's guest is gone"
[ "$(stat -c %a "$T")" = 710 ] || die "its directory cannot be listed"
note "a template is made of it"

for n in 2 3 4; do
	export HV_UID=$((60000 + n))
	hv start "$(uuid $n)" "$T"
	[ "$(ask "$(uuid $n)" sum)" = "$sum" ] || die "clone $n has its memory"
	[ "$(stat -c %u "/proc/$(qemu_pid "$(uuid $n)")")" = "$HV_UID" ] ||
		die "clone $n has a uid of its own"
done
before=$(sha256sum < "$T/template.ram")
ask "$(uuid 2)" fill 4 99 >/dev/null
[ "$(ask "$(uuid 3)" sum)" = "$sum" ] || die "clones are apart"
[ "$(sha256sum < "$T/template.ram")" = "$before" ] ||
	die "the template stays as it is"
shared=$("$driver" stats "$(uuid 3)" 2>/dev/null | cut -d' ' -f2)
[ "$shared" -lt $((128 << 20)) ] || die "a clone shares its memory: $shared"
note "three clones share its memory and do not see each other"

b=$(uuid 2)
export HV_UID=60002
sum2=$(ask "$b" sum)
ask "$b" put 4096 kept >/dev/null
tick=$(ask "$b" tick)
hv save "$b" "$T" "$work/snapshots/s1"
life_is "$b" gone || die "a saved guest is gone"
zstd -tq "$work/snapshots/s1"/*.zst || die "zstd accepts its files"
hv verify "$b" - "$work/snapshots/s1"
sleep 1
HV_UID=60009 hv start "$b" "$T" "$work/snapshots/s1"
export HV_UID=60009
after=$(ask "$b" tick)
[ "$(ask "$b" sum)" = "$sum2" ] || die "memory is as it was"
[ "$(ask "$b" get 4096)" = kept ] || die "so is the disk"
[ "$after" -ge "$tick" ] && [ "$after" -lt $((tick + 9)) ] ||
	die "the counter stood still: $tick $after"
note "a guest that was saved goes on where it was, under another uid"

hv save-running "$b" "$T" "$work/snapshots/r1"
life_is "$b" running || die "it runs on"
ask "$b" put 8192 later >/dev/null
hv save-running "$b" "$T" "$work/snapshots/r2"
hv save "$b" "$T" "$work/snapshots/s2"
rm -rf "$work/snapshots/s1"
c=$(uuid 5)
export HV_UID=60005
hv start "$c" "$T" "$work/snapshots/r1"
got=$(ask "$c" get 8192)
[ "$got" = "" ] || die "r1 is before the second write: $got"
[ "$(ask "$c" get 4096)" = kept ] || die "and after the first"
hv destroy "$c"
hv start "$c" "$T" "$work/snapshots/s2"
[ "$(ask "$c" get 8192)" = later ] || die "s2 has both"
[ "$(ask "$c" sum)" = "$sum2" ] || die "and the memory"
hv destroy "$c"
note "snapshots of a running guest are each a moment"

d=$(uuid 6)
export HV_UID=60006
hv hold "$d" "$T"
life_is "$d" stopped || die "a held clone stands still"
"$srcdir/scripts/private-libvirtd" restart "$work/v" >/dev/null
HV_DISK=100 hv release "$d" "$T"
[ "$(ask "$d" size)" = $((100 << 20)) ] || die "its disk has grown"
hv destroy "$d"
hv hold "$d" "$T"
hv release "$d" "$T" "$work/snapshots/s2"
[ "$(ask "$d" get 8192)" = later ] || die "a held clone takes a snapshot"
[ "$(ask "$d" sum)" = "$sum2" ] || die "with its memory"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do
	hv save "$d" "$T" "$work/snapshots/m$i" 2>/dev/null
	hv start "$d" "$T" "$work/snapshots/m$i" 2>/dev/null
	ask "$d" put $((i * 65536)) "round $i" >/dev/null
	rm -rf "$work/snapshots/m$i"
done
[ "$(find "$work/guests/$d" -name 'disk.*' | wc -l)" -lt 16 ] ||
	die "long chains are merged"
[ "$(ask "$d" get 8192)" = later ] && [ "$(ask "$d" get 65536)" = "round 1" ] &&
	[ "$(ask "$d" get 655360)" = "round 10" ] || die "nothing is lost by it"
hv destroy "$d"
note "held clones survive libvirtd; long chains of layers are merged"

e=$(uuid 7)
export HV_UID=60007
hv start "$e"
sum3=$(ask "$e" fill 30 9)
hv save "$e" - "$work/snapshots/e"
hv start "$e" - "$work/snapshots/e"
[ "$(ask "$e" sum)" = "$sum3" ] || die "no template, and yet saved"
ask "$e" zero >/dev/null
zero=$(ask "$e" sum)
hv save "$e" - "$work/snapshots/e2"
hv start "$e" - "$work/snapshots/e2"
[ "$(ask "$e" sum)" = "$zero" ] || die "zeros come back"
[ "$(stat -c %s "$work/snapshots/e2/sandbox.mem.zst")" -lt \
  "$(stat -c %s "$work/snapshots/e/sandbox.mem.zst")" ] ||
	die "zero pages are only noted"
hv destroy "$e"
note "a guest without template is saved as well"

# Without libvirt a guest can still be ended; and it ends while libvirt is away.
f=$(uuid 3)
"$srcdir/scripts/private-libvirtd" stop-daemon "$work/v"
[ "$(HV_LINK_WAIT_MS=300 "$driver" life "$f" 2>/dev/null)" = unknown ] ||
	die "without libvirt nobody knows"
HV_LINK_WAIT_MS=300 hv destroy "$f"
[ -z "$(qemu_pid "$f")" ] || die "it is gone without libvirt"
"$srcdir/scripts/private-libvirtd" start "$work/v" >/dev/null
wait_for life_is "$f" gone
[ "$(ask "$(uuid 4)" sum)" = "$sum" ] || die "the others have not noticed"
hv destroy "$f"
note "guests end without libvirt; others survive it"
