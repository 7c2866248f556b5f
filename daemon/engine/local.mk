# The engine: everything but main.c is in the library, which tests link.
noinst_LIBRARIES += libengine.a
libengine_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(LIBVIRT_CFLAGS) $(LIBNL_CFLAGS) $(ZSTD_CFLAGS) $(SQLITE_CFLAGS) \
	$(INIH_CFLAGS)
libengine_a_SOURCES =
libengine_a_SOURCES += %D%/front_link.c %D%/front_link.h
libengine_a_SOURCES += %D%/helper.c %D%/helper.h
libengine_a_SOURCES += %D%/denial.c %D%/denial.h
libengine_a_SOURCES += %D%/resolver_link.c %D%/resolver_link.h
