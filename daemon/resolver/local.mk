# sandboxd-resolver: answers guests' DNS, and reads what they sent that was
# refused. Has no power over anything.
noinst_LIBRARIES += libresolver.a
libresolver_a_SOURCES = \
	%D%/dns_wire.c %D%/dns_wire.h \
	%D%/engine_link.c %D%/engine_link.h \
	%D%/guest.c %D%/guest.h \
	%D%/lookup.c %D%/lookup.h \
	%D%/policy_match.c %D%/policy_match.h \
	%D%/refused.c %D%/refused.h \
	%D%/serve.c %D%/serve.h \
	%D%/upstream.c %D%/upstream.h
libresolver_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS)

pkglibexec_PROGRAMS += sandboxd-resolver
sandboxd_resolver_SOURCES = %D%/main.c
sandboxd_resolver_LDADD = libresolver.a libproto.a libbase.a $(SECCOMP_LIBS) \
	$(SYSTEMD_LIBS) $(PROTOBUF_C_LIBS)
