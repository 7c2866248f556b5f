# What scripts/bench runs.
EXTRA_PROGRAMS = %D%/bench_client %D%/peer_init %D%/bench_net
# Built by make check, so that they follow the code that they measure.
check_PROGRAMS += %D%/bench_node %D%/bench_rules
%C%_bench_client_SOURCES = %D%/bench_client.c %D%/bench_client.h \
	%D%/bench_rate.c
%C%_bench_client_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS)
%C%_bench_client_LDADD = $(CTL_LIBS)
%C%_peer_init_LDADD =
%C%_peer_init_LDFLAGS = -static
%C%_peer_init_CFLAGS = -std=gnu11 -O2 $(WARN_CFLAGS)
%C%_bench_node_SOURCES = %D%/bench_node.c %D%/bench_node.h %D%/bench_guest.c \
	tests/unit/file_hv.c tests/unit/file_hv.h %D%/bench_agents.c %D%/bench_seed.c tests/unit/fake_image.c $(FAKES)
%C%_bench_node_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit \
	-I$(top_srcdir)/tests/bench
%C%_bench_node_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS)
%C%_bench_node_LDADD = libengine.a libbase.a libgrpc.a $(ENGINE_LIBS) \
	$(NGHTTP2_LIBS)
%C%_bench_net_LDADD =
%C%_bench_rules_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(LIBNL_CFLAGS)
%C%_bench_rules_LDADD = $(ENGINE_LIBS)
EXTRA_DIST += %D%/recipe %D%/bench_lib.py \
	%D%/bench_peer.py %D%/bench_guest.py %D%/bench_create.py \
	%D%/bench_pause.py %D%/bench_egress.py %D%/bench_engine.py %D%/bench_network.py
