# sandboxctl: the command line. All but main.c is a library, for the tests. It is
# linked without OpenSSL: sandboxctl-tls, which it becomes to reach another
# machine's node, is the same with it.
noinst_LIBRARIES += libctl.a
libctl_a_SOURCES = \
	%D%/client.c %D%/client.h \
	%D%/cmd_copy.c %D%/cmd_events.c %D%/cmd_exec.c %D%/cmd_files.c \
	%D%/cmd_image.c %D%/cmd_node.c %D%/cmd_ports.c %D%/cmd_sandbox.c \
	%D%/cmd_snapshot.c \
	%D%/command.c \
	%D%/copy.c %D%/copy.h %D%/copy_down.c %D%/copy_up.c \
	%D%/copy_name.c %D%/copy_name.h \
	%D%/ctl.c %D%/ctl.h \
	%D%/dial.c %D%/dial.h \
	%D%/dial_tls.c \
	%D%/forward.c %D%/forward.h \
	%D%/installed.c %D%/installed.h \
	%D%/json.c %D%/json.h \
	%D%/options.c %D%/options.h \
	%D%/out.c %D%/out.h \
	%D%/pb.h \
	%D%/progress.c %D%/progress.h \
	%D%/pump.c %D%/pump.h \
	%D%/recipe.c %D%/recipe.h \
	%D%/rule.c %D%/rule.h \
	%D%/session.c %D%/session.h \
	%D%/signame.c %D%/signame.h \
	%D%/term.c %D%/term.h \
	%D%/text.c %D%/text.h \
	%D%/upload.c %D%/upload.h
libctl_a_CPPFLAGS = $(AM_CPPFLAGS) -DPKGLIBEXECDIR='"$(pkglibexecdir)"' \
	-DTOP_SRCDIR='"$(abs_top_srcdir)"'
libctl_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(OPENSSL_CFLAGS)

CTL_LIBS = libctl.a libbase.a libgrpc.a libproto.a $(NGHTTP2_LIBS) \
	$(PROTOBUF_C_LIBS) $(SYSTEMD_LIBS)

bin_PROGRAMS += sandboxctl
sandboxctl_SOURCES = %D%/main.c
sandboxctl_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
sandboxctl_LDADD = $(CTL_LIBS)

pkglibexec_PROGRAMS += sandboxctl-tls
sandboxctl_tls_SOURCES = %D%/main_tls.c
sandboxctl_tls_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
sandboxctl_tls_LDADD = $(CTL_LIBS) $(OPENSSL_LIBS)
