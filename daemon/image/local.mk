# sandboxd-mkimage: an image archive to an ext4 file system.
noinst_LIBRARIES += libimage.a
libimage_a_SOURCES = \
	%D%/build.c %D%/build.h \
	%D%/ext4.c %D%/ext4.h \
	%D%/format.c %D%/format.h \
	%D%/oci.c %D%/oci.h \
	%D%/reader.c %D%/reader.h \
	%D%/source.c %D%/source.h \
	%D%/tree.c %D%/tree.h
libimage_a_CFLAGS = $(AM_CFLAGS) $(ARCHIVE_CFLAGS) $(EXT2FS_CFLAGS) \
	$(JSONC_CFLAGS) $(OPENSSL_CFLAGS)
IMAGE_LIBS = libimage.a libbase.a $(ARCHIVE_LIBS) $(EXT2FS_LIBS) \
	$(JSONC_LIBS) $(OPENSSL_LIBS)

pkglibexec_PROGRAMS += sandboxd-mkimage
sandboxd_mkimage_SOURCES = %D%/main.c
sandboxd_mkimage_CFLAGS = $(AM_CFLAGS) $(PROTOBUF_C_CFLAGS)
sandboxd_mkimage_LDADD = $(IMAGE_LIBS) libproto.a $(PROTOBUF_C_LIBS) \
	$(SECCOMP_LIBS) $(SYSTEMD_LIBS)
