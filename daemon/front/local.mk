# sandboxd-front: speaks to clients and agents. Everything but main.c is in the
# library, which tests link.
noinst_LIBRARIES += libfront.a
libfront_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(OPENSSL_CFLAGS)
libfront_a_SOURCES = \
	%D%/agent_ask.c %D%/agent_ask.h \
	%D%/agent_attach.c %D%/agent_attach.h \
	%D%/agent_call.c %D%/agent_call.h \
	%D%/agent_link.c %D%/agent_link.h %D%/agent_link_priv.h \
	%D%/api.c %D%/api.h \
	%D%/check.c %D%/check.h \
	%D%/client.h \
	%D%/control.c %D%/control.h \
	%D%/counts.c %D%/counts.h \
	%D%/engine_link.c %D%/engine_link.h \
	%D%/events.c %D%/events.h \
	%D%/exec.c \
	%D%/exits.c %D%/exits.h \
	%D%/files.c \
	%D%/front.c %D%/front.h \
	%D%/guest_clock.c %D%/guest_clock.h \
	%D%/health.c %D%/health.h \
	%D%/label.h \
	%D%/listener.c %D%/listener.h \
	%D%/ports.c %D%/ports.h \
	%D%/proxy.c %D%/proxy.h \
	%D%/reflection.c %D%/reflection.h \
	%D%/status.c %D%/status.h \
	%D%/tls.c %D%/tls.h \
	%D%/transfer.c %D%/transfer.h \
	%D%/tube.c %D%/tube.h \
	%D%/tunnel.c \
	%D%/wire.c %D%/wire.h

# The public API's descriptors, as numbers for reflection.c.
REFLECTED_PROTOS = sandbox/node/v1/node.proto grpc/health/v1/health.proto \
	grpc/reflection/v1/reflection.proto
nodist_libfront_a_SOURCES = %D%/reflection_set.inc
BUILT_SOURCES += %D%/reflection_set.inc
CLEANFILES += %D%/reflection_set.inc %D%/reflection_set.pb
%D%/reflection_set.inc: $(PROTOS)
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(PROTOC) --proto_path=$(top_srcdir)/proto \
		--proto_path=/usr/include --include_imports \
		--descriptor_set_out=$(@D)/reflection_set.pb \
		$(REFLECTED_PROTOS) && \
	od -An -v -tx1 $(@D)/reflection_set.pb | \
		sed 's/ \(..\)/0x\1,/g' > $@.tmp && mv $@.tmp $@
%D%/libfront_a-reflection.$(OBJEXT): %D%/reflection_set.inc

FRONT_LIBS = libfront.a libbase.a libgrpc.a libproto.a $(NGHTTP2_LIBS) \
	$(PROTOBUF_C_LIBS) $(OPENSSL_LIBS) $(SECCOMP_LIBS) $(SYSTEMD_LIBS)

pkglibexec_PROGRAMS += sandboxd-front
sandboxd_front_SOURCES = %D%/main.c
sandboxd_front_CFLAGS = $(libfront_a_CFLAGS)
sandboxd_front_LDADD = $(FRONT_LIBS)
