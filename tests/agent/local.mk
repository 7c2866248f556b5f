# A real agent on a unix socket, driven over gRPC. Skipped when not root.
AGENT_RIG = %D%/client.c %D%/client.h %D%/rig.c %D%/rig.h
AGENT_RIG_LIBS = libagent.a libgrpc.a libproto.a $(NGHTTP2_LIBS) \
	$(PROTOBUF_C_LIBS) $(CMOCKA_LIBS)
AGENT_TESTS = %D%/test_agent_exec
check_PROGRAMS += $(AGENT_TESTS)
TESTS += $(AGENT_TESTS)
%C%_test_agent_exec_SOURCES = %D%/test_agent_exec.c $(AGENT_RIG)
%C%_test_agent_exec_LDADD = $(AGENT_RIG_LIBS)
EXTRA_%C%_test_agent_exec_DEPENDENCIES = sandbox-agent$(EXEEXT)
