# sandboxd-splice: sees that a connection is meant for a name that its guest may
# reach. Has no power over anything, not even a socket of its own making.
noinst_LIBRARIES += libsplice.a
libsplice_a_SOURCES = \
	%D%/engine_link.c %D%/engine_link.h \
	%D%/flow.c %D%/flow.h \
	%D%/flows.c %D%/flows.h \
	%D%/half.c %D%/half.h \
	%D%/http.c %D%/http.h \
	%D%/look.c %D%/look.h \
	%D%/peek.c %D%/peek.h \
	%D%/tls.c %D%/tls.h
libsplice_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS)

pkglibexec_PROGRAMS += sandboxd-splice
sandboxd_splice_SOURCES = %D%/main.c
sandboxd_splice_LDADD = libsplice.a libproto.a libbase.a $(SECCOMP_LIBS) \
	$(SYSTEMD_LIBS) $(PROTOBUF_C_LIBS)
