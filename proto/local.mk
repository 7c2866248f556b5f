# The wire: the .proto files, what protoc-c makes of them, and gRPC.
PROTOS = \
	%D%/sandbox/node/v1/node.proto \
	%D%/sandbox/agent/v1/agent.proto \
	%D%/sandbox/ipc/v1/image.proto \
	%D%/sandbox/ipc/v1/ipc.proto \
	%D%/sandbox/ipc/v1/metrics.proto \
	%D%/sandbox/ipc/v1/parcel.proto \
	%D%/sandbox/ipc/v1/resolver.proto \
	%D%/sandbox/ipc/v1/splice.proto \
	%D%/sandbox/ipc/v1/webhook.proto \
	%D%/google/rpc/status.proto \
	%D%/google/rpc/error_details.proto \
	%D%/grpc/health/v1/health.proto \
	%D%/grpc/reflection/v1/reflection.proto
EXTRA_DIST += $(PROTOS)

GENERATED_C = $(PROTOS:.proto=.pb-c.c) \
	%D%/google/protobuf/any.pb-c.c \
	%D%/google/protobuf/descriptor.pb-c.c \
	%D%/google/protobuf/duration.pb-c.c \
	%D%/google/protobuf/timestamp.pb-c.c \
	%D%/google/protobuf/wrappers.pb-c.c
GENERATED_H = $(GENERATED_C:.c=.h)
BUILT_SOURCES += $(GENERATED_H)
CLEANFILES += $(GENERATED_C) $(GENERATED_H)

SUFFIXES = .proto .pb-c.c .pb-c.h
.proto.pb-c.c:
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(PROTOC_C) --proto_path=$(top_srcdir)/proto \
		--proto_path=/usr/include --c_out=$(top_builddir)/proto $<
.pb-c.c.pb-c.h:
	@test -f $@ || { rm -f $<; $(MAKE) $(AM_MAKEFLAGS) $<; }
%D%/google/protobuf/%.pb-c.c: /usr/include/google/protobuf/%.proto
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(PROTOC_C) --proto_path=/usr/include \
		--c_out=$(top_builddir)/proto $<

noinst_LIBRARIES += libproto.a
nodist_libproto_a_SOURCES = $(GENERATED_C)
# Generated code: not ours to warn about.
libproto_a_CFLAGS = -std=gnu11 -g -O2 $(SAN_CFLAGS) $(HARDEN_CFLAGS) $(PROTOBUF_C_CFLAGS)
libproto_a_SOURCES =

noinst_LIBRARIES += libgrpc.a
libgrpc_a_SOURCES = \
	%D%/grpc.h %D%/grpc_internal.h \
	%D%/grpc_call.c \
	%D%/grpc_conn.c \
	%D%/grpc_frame.c \
	%D%/grpc_head.c \
	%D%/grpc_session.c \
	%D%/grpc_status.c \
	%D%/resync.c %D%/resync.h
libgrpc_a_CFLAGS = $(AM_CFLAGS) $(NGHTTP2_CFLAGS) $(PROTOBUF_C_CFLAGS)
