# sandboxd-parcel: snapshots into streams for another node, and back.
noinst_LIBRARIES += libparcel.a
libparcel_a_SOURCES = \
	%D%/control.c %D%/control.h \
	%D%/pack.c %D%/pack.h \
	%D%/reader.c %D%/reader.h \
	%D%/unpack.c %D%/unpack.h \
	%D%/writer.c %D%/writer.h
libparcel_a_CFLAGS = $(AM_CFLAGS) $(OPENSSL_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(ZSTD_CFLAGS)
# Of the engine only what knows the formats.
PARCEL_LIBS = libparcel.a libengine.a libproto.a libbase.a $(OPENSSL_LIBS) \
	$(PROTOBUF_C_LIBS) $(ZSTD_LIBS)

pkglibexec_PROGRAMS += sandboxd-parcel
sandboxd_parcel_SOURCES = %D%/main.c
sandboxd_parcel_CFLAGS = $(AM_CFLAGS) $(PROTOBUF_C_CFLAGS)
sandboxd_parcel_LDADD = $(PARCEL_LIBS) $(SECCOMP_LIBS) $(SYSTEMD_LIBS)
