# sandboxctl end to end, against a node that only pretends.
check_PROGRAMS += %D%/fake_node
%C%_fake_node_SOURCES = %D%/fake.h %D%/fake_node.c %D%/fake_calls.c \
	%D%/fake_exec.c %D%/fake_files.c
%C%_fake_node_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(OPENSSL_CFLAGS) \
	$(PROTOBUF_C_CFLAGS)
%C%_fake_node_LDADD = $(CTL_LIBS) $(OPENSSL_LIBS)

CTL_TESTS = %D%/test_answers.sh %D%/test_exec.sh %D%/test_copy.sh \
	%D%/test_streams.sh %D%/test_tls.sh %D%/test_packaging.sh
TESTS += $(CTL_TESTS)
dist_check_SCRIPTS += $(CTL_TESTS)
EXTRA_DIST += %D%/lib.sh
