# Tests that need root, a libvirtd (scripts/private-libvirtd) and QEMU.
check_PROGRAMS += %D%/hv_driver %D%/guest_init
%C%_hv_driver_LDADD = $(ENGINE_LIBS)
%C%_hv_driver_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(LIBVIRT_CFLAGS)
# Runs as a guest's only program: static, and not instrumented.
%C%_guest_init_CFLAGS = -std=gnu11 -O2 $(WARN_CFLAGS)
%C%_guest_init_LDFLAGS = -static
%C%_guest_init_LDADD =

# `make check-host`: as root, with QEMU; about two minutes. Each skips (77) where
# it cannot run.
HOST_TESTS = %D%/hv_guests.sh %D%/hv_damage.sh
EXTRA_DIST += $(HOST_TESTS) %D%/hv_lib.sh
check-host: all %D%/hv_driver %D%/guest_init
	@for t in $(HOST_TESTS); do \
		echo "== $$t"; srcdir=$(srcdir) sh $(srcdir)/$$t; r=$$?; \
		test $$r -eq 0 || test $$r -eq 77 || exit 1; \
	done
.PHONY: check-host
