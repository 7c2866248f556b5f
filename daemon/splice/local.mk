# sandboxd-splice: sees that a connection is meant for a name that its guest may
# reach. Has no power over anything, not even a socket of its own making.
noinst_LIBRARIES += libsplice.a
libsplice_a_SOURCES = \
	%D%/http.c %D%/http.h \
	%D%/peek.c %D%/peek.h \
	%D%/tls.c %D%/tls.h
libsplice_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS)
