# Guests by libvirt and QEMU: what hv.h promises. May call snapshot/ and proc/.
libengine_a_SOURCES += \
	%D%/hv_conn.c %D%/hv_conn.h \
	%D%/hv_guest.c %D%/hv_guest.h \
	%D%/hv_libvirt.c %D%/hv_libvirt.h \
	%D%/hv_limits.c %D%/hv_limits.h \
	%D%/hv_merge.c %D%/hv_merge.h \
	%D%/hv_monitor.c %D%/hv_monitor.h \
	%D%/hv_save.c %D%/hv_save.h \
	%D%/hv_saving.c %D%/hv_saving.h \
	%D%/hv_selftest.c %D%/hv_selftest.h \
	%D%/hv_start.c %D%/hv_start.h \
	%D%/hv_whole.c %D%/hv_whole.h \
	%D%/hv_whole_save.c %D%/hv_whole_save.h \
	%D%/hv_xml.c %D%/hv_xml.h \
	%D%/probe.c %D%/probe.h \
	%D%/qemu_proc.c %D%/qemu_proc.h
