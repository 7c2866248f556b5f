# Not part of `make check`: it needs npm's modules. `make interop` runs it.
noinst_PROGRAMS += %D%/echo_server
tests_interop_echo_server_SOURCES = %D%/echo_server.c
tests_interop_echo_server_LDADD = libfront.a libbase.a libgrpc.a libproto.a \
	$(NGHTTP2_LIBS) $(PROTOBUF_C_LIBS) $(OPENSSL_LIBS) $(SYSTEMD_LIBS)
noinst_PROGRAMS += %D%/front_server
tests_interop_front_server_SOURCES = %D%/front_server.c $(FRONT_RIG)
tests_interop_front_server_LDADD = $(FRONT_RIG_LIBS)
EXTRA_DIST += %D%/run.sh %D%/interop.js %D%/front.js \
	%D%/echo.proto %D%/package.json \
	%D%/package-lock.json proto/buf.yaml

.PHONY: interop
interop: %D%/echo_server %D%/front_server sandboxd-front
	$(srcdir)/%D%/run.sh $(builddir)
