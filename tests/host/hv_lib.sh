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

# The first Debian kernel that has its modules.
find_kernel()
{
	for v in /boot/vmlinuz-*cloud-amd64 /boot/vmlinuz-*amd64; do
		version=${v#/boot/vmlinuz-}
		if [ -r "$v" ] && [ -d "/lib/modules/$version" ]; then
			kernel=$v
			return
		fi
	done
	skip "no kernel with modules in /boot"
}

# An initramfs of guest_init and the modules of the virtio devices.
make_initrd()
{
	mkdir -p "$work/root/modules" "$work/root/dev" "$work/root/sys"
	cp "$guest_init" "$work/root/init"
	n=10
	for m in virtio_ring virtio virtio_pci_modern_dev \
		virtio_pci_legacy_dev virtio_pci virtio_blk virtio_console; do
		f=$(find "/lib/modules/$version" -name "$m.ko*" | head -n 1)
		case $f in
		'') continue ;;
		*.xz) xz -dc "$f" > "$work/root/modules/$n-$m.ko" ;;
		*) cp "$f" "$work/root/modules/$n-$m.ko" ;;
		esac
		n=$((n + 1))
	done
	mknod "$work/root/dev/console" c 5 1
	(cd "$work/root" && find . | cpio -o -H newc --quiet) \
		> "$work/initrd.img"
}

setup()
{
	[ "$(id -u)" = 0 ] || skip "not root"
	requires libvirtd virsh qemu-system-x86_64 qemu-img zstd cpio unshare
	[ -x "$driver" ] && [ -x "$guest_init" ] || skip "not built"
	find_kernel
	work=$(mktemp -d /tmp/hvtest.XXXXXX)
	chmod 0711 "$work"
	trap 'cleanup' EXIT
	trap 'exit 1' INT TERM
	make_initrd
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
