# sandboxd-webhook: posts the node's events. Everything but main.c is in the
# library, which tests link.
noinst_LIBRARIES += libwebhook.a
libwebhook_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(CURL_CFLAGS) $(OPENSSL_CFLAGS)
libwebhook_a_SOURCES = \
	%D%/poster.c %D%/poster.h \
	%D%/post.c %D%/post.h \
	%D%/sign.c %D%/sign.h

WEBHOOK_LIBS = libwebhook.a libproto.a libbase.a $(CURL_LIBS) $(OPENSSL_LIBS) \
	$(SECCOMP_LIBS) $(SYSTEMD_LIBS) $(PROTOBUF_C_LIBS)

pkglibexec_PROGRAMS += sandboxd-webhook
sandboxd_webhook_SOURCES = %D%/main.c
sandboxd_webhook_LDADD = $(WEBHOOK_LIBS)
