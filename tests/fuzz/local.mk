# fuzz_X.c is a target for libFuzzer (--enable-fuzzers with CC=clang: run it by
# hand with a corpus). Otherwise it is built with replay.c, and what is saved in
# corpus/X runs in every `make check`. A new target: one line in FUZZ_TARGETS,
# its _SOURCES and its _LDADD.
FUZZ_TARGETS = \
	%D%/fuzz_agent_messages \
	%D%/fuzz_netlink_reply \
	%D%/fuzz_policy_match \
	%D%/fuzz_config \
	%D%/fuzz_ctl_rule \
	%D%/fuzz_dns_answer \
	%D%/fuzz_dns_query \
	%D%/fuzz_grpc_client \
	%D%/fuzz_grpc_server \
	%D%/fuzz_grpc_status \
	%D%/fuzz_image_archive \
	%D%/fuzz_image_manifest \
	%D%/fuzz_ipc \
	%D%/fuzz_front_ipc \
	%D%/fuzz_resolver_ipc \
	%D%/fuzz_splice_ipc \
	%D%/fuzz_image_report \
	%D%/fuzz_exits \
	%D%/fuzz_peek \
	%D%/fuzz_parcel \
	%D%/fuzz_parcel_report \
	%D%/fuzz_peer \
	%D%/fuzz_mem_file \
	%D%/fuzz_refused \
	%D%/fuzz_resync \
	%D%/fuzz_snapshot_manifest \
	%D%/fuzz_spec
check_PROGRAMS += $(FUZZ_TARGETS)
if FUZZERS
FUZZ_MAIN =
else
FUZZ_MAIN = %D%/replay.c
TESTS += $(FUZZ_TARGETS)
endif
EXTRA_DIST += %D%/corpus

FUZZ_GRPC_LIBS = libgrpc.a libproto.a $(NGHTTP2_LIBS) $(PROTOBUF_C_LIBS) \
	$(FUZZ_LINK)
FUZZ_RESOLVER_LIBS = libresolver.a libbase.a $(SYSTEMD_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_dns_answer_SOURCES = %D%/fuzz_dns_answer.c $(FUZZ_MAIN)
tests_fuzz_fuzz_dns_answer_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_fuzz_dns_answer_CFLAGS = $(AM_CFLAGS)
tests_fuzz_fuzz_dns_answer_LDADD = $(FUZZ_RESOLVER_LIBS)
if LDNS
tests_fuzz_fuzz_dns_answer_CPPFLAGS += -DHAVE_LDNS
tests_fuzz_fuzz_dns_answer_CFLAGS += $(LDNS_CFLAGS)
tests_fuzz_fuzz_dns_answer_LDADD += $(LDNS_LIBS)
endif

tests_fuzz_fuzz_dns_query_SOURCES = %D%/fuzz_dns_query.c $(FUZZ_MAIN)
tests_fuzz_fuzz_dns_query_LDADD = $(FUZZ_RESOLVER_LIBS)

tests_fuzz_fuzz_peek_SOURCES = %D%/fuzz_peek.c $(FUZZ_MAIN)
tests_fuzz_fuzz_peek_LDADD = libsplice.a $(FUZZ_LINK)

tests_fuzz_fuzz_grpc_client_SOURCES = %D%/fuzz_grpc_client.c $(FUZZ_MAIN)
tests_fuzz_fuzz_grpc_client_LDADD = $(FUZZ_GRPC_LIBS)

tests_fuzz_fuzz_grpc_server_SOURCES = %D%/fuzz_grpc_server.c $(FUZZ_MAIN)
tests_fuzz_fuzz_grpc_server_LDADD = $(FUZZ_GRPC_LIBS)

tests_fuzz_fuzz_grpc_status_SOURCES = %D%/fuzz_grpc_status.c $(FUZZ_MAIN)
tests_fuzz_fuzz_grpc_status_LDADD = $(FUZZ_GRPC_LIBS)

tests_fuzz_fuzz_refused_SOURCES = %D%/fuzz_refused.c $(FUZZ_MAIN)
tests_fuzz_fuzz_refused_LDADD = $(FUZZ_RESOLVER_LIBS)

tests_fuzz_fuzz_resync_SOURCES = %D%/fuzz_resync.c $(FUZZ_MAIN)
tests_fuzz_fuzz_resync_LDADD = libgrpc.a $(FUZZ_LINK)

tests_fuzz_fuzz_front_ipc_SOURCES = %D%/fuzz_front_ipc.c $(FUZZ_MAIN)
tests_fuzz_fuzz_front_ipc_LDADD = $(FRONT_LIBS) $(FUZZ_LINK)
tests_fuzz_fuzz_ipc_SOURCES = %D%/fuzz_ipc.c $(FUZZ_MAIN)
tests_fuzz_fuzz_ipc_LDADD = $(ENGINE_LIBS) $(FUZZ_LINK)

# Both ends of helpers' sockets; the linker takes engine_link.c of one helper.
FUZZ_HELPER = $(FUZZ_MAIN) %D%/helper_pipe.h
tests_fuzz_fuzz_resolver_ipc_SOURCES = %D%/fuzz_resolver_ipc.c $(FUZZ_HELPER)
tests_fuzz_fuzz_resolver_ipc_LDADD = libresolver.a $(ENGINE_LIBS) $(FUZZ_LINK)
tests_fuzz_fuzz_splice_ipc_SOURCES = %D%/fuzz_splice_ipc.c $(FUZZ_HELPER)
tests_fuzz_fuzz_splice_ipc_LDADD = libsplice.a $(ENGINE_LIBS) $(FUZZ_LINK)
tests_fuzz_fuzz_exits_SOURCES = %D%/fuzz_exits.c $(FUZZ_HELPER)
tests_fuzz_fuzz_exits_LDADD = $(ENGINE_LIBS) $(FRONT_LIBS) $(FUZZ_LINK)
tests_fuzz_fuzz_image_report_SOURCES = %D%/fuzz_image_report.c $(FUZZ_MAIN)
tests_fuzz_fuzz_image_report_LDADD = $(ENGINE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_parcel_report_SOURCES = %D%/fuzz_parcel_report.c $(FUZZ_MAIN)
tests_fuzz_fuzz_parcel_report_LDADD = $(ENGINE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_peer_SOURCES = %D%/fuzz_peer.c $(FUZZ_MAIN)
tests_fuzz_fuzz_peer_LDADD = $(FRONT_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_ctl_rule_SOURCES = %D%/fuzz_ctl_rule.c $(FUZZ_MAIN)
tests_fuzz_fuzz_ctl_rule_LDADD = $(CTL_LIBS) $(FUZZ_LINK)
FUZZ_ENGINE_LIBS = $(ENGINE_LIBS) $(FUZZ_LINK)
tests_fuzz_fuzz_mem_file_SOURCES = %D%/fuzz_mem_file.c $(FUZZ_MAIN)
tests_fuzz_fuzz_mem_file_LDADD = $(FUZZ_ENGINE_LIBS)

tests_fuzz_fuzz_snapshot_manifest_SOURCES = \
	%D%/fuzz_snapshot_manifest.c $(FUZZ_MAIN)
tests_fuzz_fuzz_snapshot_manifest_LDADD = $(FUZZ_ENGINE_LIBS)

tests_fuzz_fuzz_image_archive_SOURCES = %D%/fuzz_image_archive.c $(FUZZ_MAIN)
tests_fuzz_fuzz_image_archive_LDADD = $(IMAGE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_image_manifest_SOURCES = %D%/fuzz_image_manifest.c $(FUZZ_MAIN)
tests_fuzz_fuzz_image_manifest_LDADD = $(ENGINE_LIBS) $(IMAGE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_config_SOURCES = %D%/fuzz_config.c $(FUZZ_MAIN)
tests_fuzz_fuzz_config_LDADD = $(ENGINE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_spec_SOURCES = %D%/fuzz_spec.c $(FUZZ_MAIN)
tests_fuzz_fuzz_spec_LDADD = $(ENGINE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_agent_messages_SOURCES = %D%/fuzz_agent_messages.c $(FUZZ_MAIN)
tests_fuzz_fuzz_agent_messages_CPPFLAGS = $(AM_CPPFLAGS) \
	-I$(top_srcdir)/guest-agent
tests_fuzz_fuzz_agent_messages_LDADD = libagent.a $(FUZZ_GRPC_LIBS)
tests_fuzz_fuzz_netlink_reply_SOURCES = %D%/fuzz_netlink_reply.c $(FUZZ_MAIN)
tests_fuzz_fuzz_netlink_reply_LDADD = $(ENGINE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_policy_match_SOURCES = %D%/fuzz_policy_match.c $(FUZZ_MAIN)
tests_fuzz_fuzz_policy_match_LDADD = libresolver.a $(ENGINE_LIBS) $(FUZZ_LINK)

tests_fuzz_fuzz_parcel_SOURCES = %D%/fuzz_parcel.c $(FUZZ_MAIN)
tests_fuzz_fuzz_parcel_LDADD = $(PARCEL_LIBS) $(FUZZ_LINK)
