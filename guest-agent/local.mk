# The agent in guests: one static program that needs nothing of the image.
# libagent.a is all of it but main.c; of the node's base it has what needs only
# libc, compiled in (libbase.a has more, and another loop.h).
noinst_LIBRARIES += libagent.a
libagent_a_SOURCES = \
	%D%/agent.c %D%/agent.h \
	%D%/cgroup.c %D%/cgroup.h \
	%D%/env.c %D%/env.h \
	%D%/exits.c %D%/exits.h \
	%D%/file_list.c \
	%D%/file_move.c \
	%D%/file_path.c %D%/file_path.h \
	%D%/file_read.c \
	%D%/file_tree.c %D%/file_tree.h \
	%D%/file_write.c \
	%D%/freeze.c %D%/freeze.h \
	%D%/identity.c %D%/identity.h \
	%D%/init.c %D%/init.h \
	%D%/link.c %D%/link.h \
	%D%/loop.c %D%/loop.h \
	%D%/machine.c %D%/machine.h \
	%D%/methods.c %D%/methods.h \
	%D%/netcfg.c %D%/netcfg.h \
	%D%/process.c %D%/process.h \
	%D%/process_exit.c %D%/process_exit.h \
	%D%/process_io.c %D%/process_io.h \
	%D%/pty.c %D%/pty.h \
	%D%/request.c %D%/request.h \
	%D%/ring.c %D%/ring.h \
	%D%/rpc.c %D%/rpc.h %D%/rpc_exec.c %D%/rpc_process.c \
	%D%/search.c %D%/search.h \
	%D%/search_child.c %D%/search_child.h %D%/search_task.c \
	%D%/server.c %D%/server.h \
	%D%/spawn.c %D%/spawn.h \
	%D%/stats.c \
	%D%/task.c %D%/task.h \
	%D%/tunnel.c \
	%D%/user.c %D%/user.h \
	%D%/watch.c \
	daemon/base/error.c \
	daemon/base/fd.c \
	daemon/base/mem.c \
	daemon/base/str.c
libagent_a_CFLAGS = $(AM_CFLAGS) $(PROTOBUF_C_CFLAGS)

pkglibexec_PROGRAMS += sandbox-agent
sandbox_agent_SOURCES = %D%/main.c
sandbox_agent_CFLAGS = $(AM_CFLAGS) $(PROTOBUF_C_CFLAGS)
sandbox_agent_LDADD = libagent.a libgrpc.a libproto.a $(NGHTTP2_LIBS) \
	$(PROTOBUF_C_LIBS)
# Sanitizers have no static runtime to be PID 1 with.
if !SANITIZERS
sandbox_agent_LDFLAGS = -pthread -static-pie -Wl,-z,relro,-z,now
endif
