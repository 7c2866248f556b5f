# SPDX-License-Identifier: Apache-2.0
# hv_lib.sh - a libvirtd, a tiny guest and helpers for hv_*.sh; sourced
# shellcheck shell=sh
set -eu

srcdir=${srcdir:-$(dirname "$0")/../..}
builddir=$(pwd)
driver=$builddir/tests/host/hv_driver
guest_init=$builddir/tests/host/guest_init

skip()
{
	echo "SKIP: $*"
	exit 77
}

die()
{
	echo "FAIL: $*"
	exit 1
}

note()
{
	echo "ok: $*"
}

requires()
{
	for c in "$@"; do
		command -v "$c" >/dev/null || skip "no $c"
	done
}

# The guests' kernel, and its modules with guest_init in the agent's place;
# guest_init loads what is in /modules by name, so the names get numbers.
make_kernel()
{
	"$srcdir/scripts/build-guest-kernel" "$work/kernel" "$guest_init" \
		> "$work/kernel.log" 2>&1 || {
		cat "$work/kernel.log"
		skip "no kernel for guests"
	}
	kernel=$work/kernel/vmlinuz
	mkdir -p "$work/root/dev" "$work/root/sys"
	(cd "$work/root" && cpio -i -d --quiet < "$work/kernel/initrd.img")
	n=10
	while read -r m; do
		mv "$work/root$m" "$work/root/modules/$n-$(basename "$m")"
		n=$((n + 1))
	done < "$work/root/modules.load"
	mknod "$work/root/dev/console" c 5 1
	(cd "$work/root" && find . | cpio -o -H newc --quiet) \
		> "$work/initrd.img"
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "not root"
	requires libvirtd virsh qemu-system-x86_64 qemu-img zstd cpio unshare
	[ -x "$driver" ] && [ -x "$guest_init" ] || skip "not built"
	work=$(mktemp -d /tmp/hvtest.XXXXXX)
	chmod 0711 "$work"
	trap 'cleanup' EXIT
	trap 'exit 1' INT TERM
	make_kernel
	mkdir "$work/guests" "$work/templates" "$work/snapshots"
	chmod 0711 "$work/guests" "$work/templates"
	truncate -s 32M "$work/image.raw"
	chmod 0444 "$work/image.raw"
	HV_URI=$("$srcdir/scripts/private-libvirtd" start "$work/v")
	HV_KERNEL=$kernel HV_INITRD=$work/initrd.img HV_STATE=$work
	HV_IMAGE=$work/image.raw HV_ROOT=$work/guests
	export HV_URI HV_KERNEL HV_INITRD HV_STATE HV_IMAGE HV_ROOT
}

cleanup()
{
	code=$?
	[ $code -eq 0 ] || grep error: "$work"/v/log/libvirtd.log | tail || :
	"$srcdir/scripts/private-libvirtd" stop "$work/v" || :
	[ -n "${KEEP:-}" ] || rm -rf "$work"
}

hv()
{
	"$driver" "$@" 2>"$work/stderr" || {
		cat "$work/stderr" >&2
		return 1
	}
	grep took "$work/stderr" >&2 || :
	# The tests use a guest's name again, which the daemon never does.
	[ "$1" != save ] || wait_for forgotten "$2"
}

# libvirt has noticed that a guest ended.
forgotten()
{
	! virsh -q -c "$HV_URI" domid "sbx-$1"
}

# The command must fail and say something that matches $1.
refused()
{
	pattern=$1
	shift
	if "$driver" "$@" >/dev/null 2>"$work/stderr"; then
		die "'$*' was not refused"
	fi
	grep -q "$pattern" "$work/stderr" ||
		die "'$*' said: $(cat "$work/stderr")"
}

ask()
{
	guest=$1
	shift
	printf '%s\n' "$*" | "$driver" talk "$guest" 2>"$work/stderr" || {
		cat "$work/stderr" >&2
		return 1
	}
}

wait_for()
{
	for _ in $(seq 1 200); do
		if "$@" >/dev/null 2>&1; then
			return 0
		fi
		sleep 0.05
	done
	die "waited in vain for: $*"
}

qemu_pid()
{
	for p in /proc/[0-9]*; do
		# Processes end while we look.
		case $(tr '\0' ' ' 2>/dev/null < "$p/cmdline") in
		*qemu-system*"-uuid $1 "*) echo "${p#/proc/}" ;;
		esac
	done 2>/dev/null
}

uuid()
{
	printf '5b0a0000-0000-4000-8000-%012d\n' "$1"
}

life_is()
{
	[ "$("$driver" life "$1" 2>/dev/null)" = "$2" ]
}
