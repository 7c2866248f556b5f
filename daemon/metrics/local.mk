# sandboxd-metrics: serves the node's metrics over HTTP. Everything but main.c
# is in the library, which tests link.
noinst_LIBRARIES += libmetrics.a
libmetrics_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(MICROHTTPD_CFLAGS)
libmetrics_a_SOURCES = \
	%D%/http.c %D%/http.h \
	%D%/server.c %D%/server.h

METRICS_LIBS = libmetrics.a libproto.a libbase.a $(MICROHTTPD_LIBS) \
	$(SECCOMP_LIBS) $(SYSTEMD_LIBS) $(PROTOBUF_C_LIBS) -lm

pkglibexec_PROGRAMS += sandboxd-metrics
sandboxd_metrics_SOURCES = %D%/main.c
sandboxd_metrics_LDADD = $(METRICS_LIBS)
