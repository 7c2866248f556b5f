# What every program of the node shares. Knows nothing of sandboxes.
noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = \
	%D%/bucket.c %D%/bucket.h \
	%D%/cleanup.h \
	%D%/cloud_event.c %D%/cloud_event.h \
	%D%/error.c %D%/error.h \
	%D%/fd.c %D%/fd.h \
	%D%/grpc_io.c %D%/grpc_io.h \
	%D%/grpc_tls.c %D%/grpc_tls.h \
	%D%/helper_main.c %D%/helper_main.h \
	%D%/ipc.c %D%/ipc.h \
	%D%/ipc_message.c %D%/ipc_message.h \
	%D%/jail.c %D%/jail.h \
	%D%/job.c %D%/job.h \
	%D%/json_text.c %D%/json_text.h \
	%D%/laps.c %D%/laps.h \
	%D%/list.h \
	%D%/log.c %D%/log.h %D%/log_id.h \
	%D%/loop.c %D%/loop.h \
	%D%/measure.c %D%/measure.h \
	%D%/mem.c %D%/mem.h \
	%D%/prom.c %D%/prom.h \
	%D%/startup_pages.c %D%/startup_pages.h \
	%D%/str.c %D%/str.h \
	%D%/utf8.c %D%/utf8.h
libbase_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(OPENSSL_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(SECCOMP_CFLAGS)
