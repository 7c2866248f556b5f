# Tests that need root, a libvirtd (scripts/private-libvirtd) and QEMU.
EXTRA_DIST += scripts/private-libvirtd
check_PROGRAMS += %D%/hv_driver %D%/guest_init
%C%_hv_driver_LDADD = $(ENGINE_LIBS)
%C%_hv_driver_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(LIBVIRT_CFLAGS)
# Runs as a guest's only program: static, and not instrumented.
%C%_guest_init_CFLAGS = -std=gnu11 -O2 $(WARN_CFLAGS)
%C%_guest_init_LDFLAGS = -static
%C%_guest_init_LDADD =
