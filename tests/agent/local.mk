# A real agent on a unix socket, driven over gRPC. Skipped when not root.
AGENT_RIG = %D%/client.c %D%/client.h %D%/rig.c %D%/rig.h
AGENT_RIG_LIBS = libagent.a libgrpc.a libproto.a $(NGHTTP2_LIBS) \
	$(PROTOBUF_C_LIBS) $(CMOCKA_LIBS)
AGENT_TESTS = %D%/test_agent_exec %D%/test_agent_files \
	%D%/test_agent_find %D%/test_agent_link
check_PROGRAMS += $(AGENT_TESTS)
TESTS += $(AGENT_TESTS)
%C%_test_agent_exec_SOURCES = %D%/test_agent_exec.c $(AGENT_RIG)
%C%_test_agent_exec_LDADD = $(AGENT_RIG_LIBS)
%C%_test_agent_files_SOURCES = %D%/test_agent_files.c %D%/rig_files.c \
	%D%/rig_files.h $(AGENT_RIG)
%C%_test_agent_files_LDADD = $(AGENT_RIG_LIBS)
EXTRA_%C%_test_agent_files_DEPENDENCIES = sandbox-agent$(EXEEXT)
%C%_test_agent_find_SOURCES = %D%/test_agent_find.c %D%/rig_files.c \
	%D%/rig_files.h $(AGENT_RIG)
%C%_test_agent_find_LDADD = $(AGENT_RIG_LIBS)
EXTRA_%C%_test_agent_find_DEPENDENCIES = sandbox-agent$(EXEEXT)
%C%_test_agent_link_SOURCES = %D%/test_agent_link.c $(AGENT_RIG)
%C%_test_agent_link_LDADD = $(AGENT_RIG_LIBS)
EXTRA_%C%_test_agent_link_DEPENDENCIES = sandbox-agent$(EXEEXT)
EXTRA_%C%_test_agent_exec_DEPENDENCIES = sandbox-agent$(EXEEXT)
# Needs a booted guest: guest_boot.sh makes one and runs it.
check_PROGRAMS += %D%/test_agent_guest
%C%_test_agent_guest_SOURCES = %D%/test_agent_guest.c $(AGENT_RIG)
%C%_test_agent_guest_LDADD = $(AGENT_RIG_LIBS)
EXTRA_DIST += %D%/guest_boot.sh
# Reads our libraries' instructions.
dist_check_SCRIPTS += %D%/emulated.sh
TESTS += %D%/emulated.sh
