# sandboxd-resolver: answers guests' DNS, and reads what they sent that was
# refused. Has no power over anything.
noinst_LIBRARIES += libresolver.a
libresolver_a_SOURCES = \
	%D%/dns_wire.c %D%/dns_wire.h \
	%D%/policy_match.c %D%/policy_match.h
libresolver_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS)
