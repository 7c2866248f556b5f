# sandboxd-front: speaks to clients and agents. Everything but main.c is in the
# library, which tests link.
noinst_LIBRARIES += libfront.a
libfront_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(OPENSSL_CFLAGS) $(SECCOMP_CFLAGS)
libfront_a_SOURCES = \
	%D%/agent_link.c %D%/agent_link.h \
	%D%/api.c %D%/api.h \
	%D%/check.c %D%/check.h \
	%D%/confine.c %D%/confine.h \
	%D%/control.c %D%/control.h \
	%D%/engine_link.c %D%/engine_link.h \
	%D%/events.c %D%/events.h \
	%D%/exec.c \
	%D%/files.c \
	%D%/front.c %D%/front.h \
	%D%/listener.c %D%/listener.h \
	%D%/ports.c %D%/ports.h \
	%D%/proxy.c %D%/proxy.h \
	%D%/status.c %D%/status.h \
	%D%/tls.c %D%/tls.h \
	%D%/transfer.c %D%/transfer.h \
	%D%/tube.c %D%/tube.h \
	%D%/tunnel.c \
	%D%/wire.c %D%/wire.h
