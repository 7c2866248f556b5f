# What scripts/bench runs.
EXTRA_PROGRAMS = %D%/bench_client %D%/peer_init
%C%_bench_client_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS)
%C%_bench_client_LDADD = $(CTL_LIBS)
%C%_peer_init_LDADD =
%C%_peer_init_LDFLAGS = -static
%C%_peer_init_CFLAGS = -std=gnu11 -O2 $(WARN_CFLAGS)
EXTRA_DIST += %D%/recipe
