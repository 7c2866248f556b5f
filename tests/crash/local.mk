# Crash points and faults, enumerated: root only (tests/crash/run.sh). What is
# outside of the engine is faked, so a point takes a tenth of a second.
check_PROGRAMS += %D%/crashpoint %D%/fake_virtd %D%/crash_node
tests_crash_crashpoint_SOURCES = %D%/crashpoint.c %D%/mark.h
tests_crash_crashpoint_LDADD =
tests_crash_fake_virtd_SOURCES = %D%/fake_virtd.c %D%/fake_qemu.c \
	%D%/fake_qemu.h %D%/fake_virt.h
tests_crash_fake_virtd_CFLAGS = $(AM_CFLAGS) $(LIBVIRT_CFLAGS) $(JSONC_CFLAGS)
tests_crash_fake_virtd_LDADD = $(JSONC_LIBS)
tests_crash_crash_node_SOURCES = %D%/crash_node.c %D%/crash_node.h \
	%D%/crash_calls.c %D%/crash_check.c %D%/fake_virt.c %D%/fake_virt.h \
	%D%/mark.h %D%/alloc_fault.c %D%/alloc_fault.h \
	daemon/base/mem_libs.c tests/unit/fakes.h tests/unit/fake_front.c \
	tests/unit/fake_world.c
tests_crash_crash_node_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) \
	$(LIBVIRT_CFLAGS) $(PROTOBUF_C_CFLAGS)
# Its malloc() is the daemon's; the C library's, below it, fails as told.
tests_crash_crash_node_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=__libc_malloc \
	-Wl,--wrap=__libc_calloc -Wl,--wrap=__libc_realloc
tests_crash_crash_node_LDADD = $(ENGINE_LIBS) $(SQLITE_LIBS)
EXTRA_DIST += %D%/alloc.py %D%/run.py %D%/run.sh
