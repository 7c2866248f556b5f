#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# guest_boot.sh - boot a guest with the agent as /init, and drive it
#
# usage: guest_boot.sh BUILD_DIR ROOT_IMAGE
#
# ROOT_IMAGE is a raw ext4 file system of a Debian (bash, procps, iproute2); it
# is not changed. Exits 77 where there is no QEMU.
set -eu

build=$(cd "$1" && pwd)
image=$2
scripts=$(cd "$(dirname "$0")/../../scripts" && pwd)

command -v qemu-system-x86_64 >/dev/null || { echo "skipped: no QEMU"; exit 77; }
dir=$(mktemp -d)
qemu=
cleanup()
{
	[ -z "$qemu" ] || kill "$qemu" 2>/dev/null || :
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

strip -o "$dir/sandbox-agent" "$build/sandbox-agent"
"$scripts/build-guest-kernel" "$dir/kernel" "$dir/sandbox-agent" >/dev/null
# A larger disk than its file system, for grow_root.
cp --sparse=always "$image" "$dir/root.img"
truncate -s 1G "$dir/root.img"
qemu-system-x86_64 -M q35 -accel tcg -smp 2 -m 512 -nodefaults -display none \
	-no-reboot -kernel "$dir/kernel/vmlinuz" -initrd "$dir/kernel/initrd.img" \
	-append 'console=ttyS0 quiet panic=-1 sandbox.root=/dev/vda' \
	-drive "file=$dir/root.img,format=raw,if=virtio" \
	-serial "file:$dir/console.log" -device virtio-serial-pci \
	-chardev "socket,path=$dir/agent.sock,server=on,wait=off,id=agent" \
	-device virtserialport,chardev=agent,name=agent \
	-netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net \
	-device virtio-rng-pci </dev/null &
qemu=$!
n=0
until grep -q 'sandbox-agent: listening' "$dir/console.log" 2>/dev/null; do
	n=$((n + 1))
	if [ $n -gt 300 ] || ! kill -0 $qemu; then
		cat "$dir/console.log" >&2
		echo "the guest does not come up" >&2
		exit 1
	fi
	sleep 0.1
done
SANDBOX_GUEST_SOCKET="$dir/agent.sock" "$build/tests/agent/test_agent_guest" || {
	cat "$dir/console.log" >&2
	exit 1
}
