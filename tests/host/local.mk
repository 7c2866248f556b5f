# Tests that need root, a libvirtd (scripts/private-libvirtd) and QEMU.
EXTRA_DIST += scripts/private-libvirtd
