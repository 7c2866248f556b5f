# A new unit test is one line here and test_X.c beside it. What it links beyond
# libbase is said in its own _LDADD.
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
UNIT_TESTS =
TESTS += %D%/test_layers.sh %D%/test_shell.sh
dist_check_SCRIPTS += %D%/test_layers.sh %D%/test_shell.sh
UNIT_TESTS += %D%/test_str
UNIT_TESTS += %D%/test_startup_pages
UNIT_TESTS += %D%/test_mem_libs
%C%_test_mem_libs_SOURCES = %D%/test_mem_libs.c daemon/base/mem_libs.c
UNIT_TESTS += %D%/test_ipc
UNIT_TESTS += %D%/test_fd
UNIT_TESTS += %D%/test_job
LDADD = libbase.a $(SECCOMP_LIBS) $(SYSTEMD_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_dns_wire
tests_unit_test_dns_wire_LDADD = libresolver.a $(LDADD)
UNIT_TESTS += %D%/test_policy_match
tests_unit_test_policy_match_LDADD = libresolver.a $(LDADD)
UNIT_TESTS += %D%/test_resolver
tests_unit_test_resolver_LDADD = libresolver.a libproto.a $(LDADD) $(PROTOBUF_C_LIBS)
CLIENT_HELLO = %D%/client_hello.c %D%/client_hello.h
UNIT_TESTS += %D%/test_splice_tls
%C%_test_splice_tls_SOURCES = %D%/test_splice_tls.c $(CLIENT_HELLO)
%C%_test_splice_tls_LDADD = libsplice.a $(LDADD)
UNIT_TESTS += %D%/test_splice_http
%C%_test_splice_http_LDADD = libsplice.a $(LDADD)
UNIT_TESTS += %D%/test_splice_look
%C%_test_splice_look_SOURCES = %D%/test_splice_look.c $(CLIENT_HELLO)
%C%_test_splice_look_LDADD = libsplice.a $(LDADD)
UNIT_TESTS += %D%/test_splice_link
%C%_test_splice_link_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_denial
tests_unit_test_denial_LDADD = libengine.a $(LDADD)
# The engine's tests: fakes for what is outside of it.
FAKES = %D%/fakes.h %D%/fake_world.c %D%/fake_net.c
UNIT_TESTS += %D%/test_config
%C%_test_config_SOURCES = %D%/test_config.c $(FAKES)
%C%_test_config_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_sandbox_fsm
UNIT_TESTS += %D%/test_spec_check
UNIT_TESTS += %D%/test_store
%C%_test_sandbox_fsm_SOURCES = %D%/test_sandbox_fsm.c $(FAKES)
%C%_test_sandbox_fsm_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
%C%_test_spec_check_SOURCES = %D%/test_spec_check.c $(FAKES)
%C%_test_spec_check_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
%C%_test_store_SOURCES = %D%/test_store.c $(FAKES)
%C%_test_store_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_hv_limits
%C%_test_hv_limits_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_quota
%C%_test_quota_SOURCES = %D%/test_quota.c $(FAKES)
%C%_test_quota_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_port
%C%_test_port_SOURCES = %D%/test_port.c $(FAKES)
%C%_test_port_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)

# The gRPC layer, both ends in memory.
GRPC_TEST_LIBS = libgrpc.a libproto.a $(NGHTTP2_LIBS) $(PROTOBUF_C_LIBS) \
	$(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_grpc_call
tests_unit_test_grpc_call_SOURCES = %D%/test_grpc_call.c %D%/grpc_pair.c \
	%D%/grpc_pair.h
tests_unit_test_grpc_call_LDADD = $(GRPC_TEST_LIBS)
UNIT_TESTS += %D%/test_grpc_io
tests_unit_test_grpc_io_LDADD = libbase.a $(GRPC_TEST_LIBS) $(OPENSSL_LIBS) \
	$(SYSTEMD_LIBS)
GRPC_PAIR = %D%/grpc_pair.c %D%/grpc_pair.h
UNIT_TESTS += %D%/test_health
tests_unit_test_health_SOURCES = %D%/test_health.c $(GRPC_PAIR)
tests_unit_test_health_LDADD = libfront.a libbase.a $(GRPC_TEST_LIBS)
UNIT_TESTS += %D%/test_reflection
tests_unit_test_reflection_SOURCES = %D%/test_reflection.c $(GRPC_PAIR)
tests_unit_test_reflection_LDADD = libfront.a libbase.a $(GRPC_TEST_LIBS)
# Front with a fake engine, fake agents and clients around it.
FRONT_RIG = %D%/front_rig.c %D%/front_rig.h %D%/front_rig_agent.c \
	%D%/front_rig_client.c
FRONT_RIG_LIBS = $(ENGINE_LIBS) $(FRONT_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_front_api
tests_unit_test_front_api_SOURCES = %D%/test_front_api.c $(FRONT_RIG)
tests_unit_test_front_api_LDADD = $(FRONT_RIG_LIBS)
UNIT_TESTS += %D%/test_front_reports
tests_unit_test_front_reports_SOURCES = %D%/test_front_reports.c $(FRONT_RIG)
tests_unit_test_front_reports_LDADD = $(FRONT_RIG_LIBS)
UNIT_TESTS += %D%/test_guest_clock
tests_unit_test_guest_clock_LDADD = libfront.a $(LDADD)
UNIT_TESTS += %D%/test_front_agent
tests_unit_test_front_agent_SOURCES = %D%/test_front_agent.c $(FRONT_RIG)
tests_unit_test_front_agent_LDADD = $(FRONT_RIG_LIBS)
UNIT_TESTS += %D%/test_front_ports
tests_unit_test_front_ports_SOURCES = %D%/test_front_ports.c $(FRONT_RIG)
tests_unit_test_front_ports_LDADD = $(FRONT_RIG_LIBS)
UNIT_TESTS += %D%/test_front_process
tests_unit_test_front_process_SOURCES = %D%/test_front_process.c $(FRONT_RIG)
tests_unit_test_front_process_LDADD = $(FRONT_RIG_LIBS)
UNIT_TESTS += %D%/test_grpc_flow
tests_unit_test_grpc_flow_SOURCES = %D%/test_grpc_flow.c $(GRPC_PAIR)
tests_unit_test_grpc_flow_LDADD = $(GRPC_TEST_LIBS)
UNIT_TESTS += %D%/test_grpc_hostile
tests_unit_test_grpc_hostile_SOURCES = %D%/test_grpc_hostile.c $(GRPC_PAIR)
tests_unit_test_grpc_hostile_LDADD = $(GRPC_TEST_LIBS)
UNIT_TESTS += %D%/test_grpc_status
tests_unit_test_grpc_status_LDADD = $(GRPC_TEST_LIBS)
UNIT_TESTS += %D%/test_resync
tests_unit_test_resync_LDADD = libgrpc.a $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_front_tls
tests_unit_test_front_tls_SOURCES = %D%/test_front_tls.c %D%/front_pki.c \
	%D%/front_pki.h $(FRONT_RIG)
tests_unit_test_front_tls_LDADD = $(FRONT_RIG_LIBS)

# sandboxctl's pure parts.
CTL_UNIT_TESTS = %D%/test_ctl_json %D%/test_ctl_options %D%/test_ctl_rule
UNIT_TESTS += $(CTL_UNIT_TESTS)
tests_unit_test_ctl_json_LDADD = $(CTL_LIBS) $(CMOCKA_LIBS)
tests_unit_test_ctl_options_LDADD = $(CTL_LIBS) $(CMOCKA_LIBS)
tests_unit_test_ctl_rule_LDADD = $(CTL_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_front_guest
tests_unit_test_front_guest_SOURCES = %D%/test_front_guest.c $(FRONT_RIG)
tests_unit_test_front_guest_LDADD = $(FRONT_RIG_LIBS)
# Guests' XML, memory, disks and snapshots.
UNIT_TESTS += %D%/test_hv_xml %D%/test_mem_file %D%/test_mem_pages \
	%D%/test_snapshot %D%/test_disk %D%/test_whole
%C%_test_whole_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
%C%_test_hv_xml_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
%C%_test_mem_file_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
%C%_test_mem_pages_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
%C%_test_snapshot_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
%C%_test_disk_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
EXTRA_DIST += %D%/golden/store-v1.sql
EXTRA_DIST += %D%/golden/hv_cold_tcg.xml %D%/golden/hv_clone_kvm.xml
UNIT_TESTS += %D%/test_qemu_proc
%C%_test_qemu_proc_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_front_check
tests_unit_test_front_check_LDADD = $(FRONT_LIBS) $(CMOCKA_LIBS)
# Images: the store with the real mkimage, and mkimage's own parts.
IMAGE_TAR = %D%/image_tar.c %D%/image_tar.h
UNIT_TESTS += %D%/test_image_store
%C%_test_image_store_SOURCES = %D%/test_image_store.c $(IMAGE_TAR)
%C%_test_image_store_LDADD = $(ENGINE_LIBS) $(ARCHIVE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_mkimage
%C%_test_mkimage_SOURCES = %D%/test_mkimage.c $(IMAGE_TAR)
%C%_test_mkimage_LDADD = $(IMAGE_LIBS) $(CMOCKA_LIBS)
# Snapshots' streams: the reader, and the real sandboxd-parcel.
UNIT_TESTS += %D%/test_parcel
PARCEL_SAMPLE = %D%/parcel_sample.c %D%/parcel_sample.h
%C%_test_parcel_SOURCES = %D%/test_parcel.c $(PARCEL_SAMPLE)
%C%_test_parcel_LDADD = $(PARCEL_LIBS) $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_agent_parts
tests_unit_test_agent_parts_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/guest-agent
tests_unit_test_agent_parts_LDADD = libagent.a $(GRPC_TEST_LIBS)
# The whole engine over fakes of all that is outside of it.
ENGINE_RIG = %D%/engine_rig.c %D%/engine_rig.h %D%/fake_hv.c \
	%D%/fake_front.c %D%/fake_image.c $(FAKES)
UNIT_TESTS += %D%/test_engine
%C%_test_engine_SOURCES = %D%/test_engine.c $(ENGINE_RIG)
%C%_test_engine_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_idle
%C%_test_idle_SOURCES = %D%/test_idle.c $(ENGINE_RIG)
%C%_test_idle_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_ended
%C%_test_ended_SOURCES = %D%/test_ended.c $(ENGINE_RIG)
%C%_test_ended_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_recovery
%C%_test_recovery_SOURCES = %D%/test_recovery.c $(ENGINE_RIG)
%C%_test_recovery_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_damaged
%C%_test_damaged_SOURCES = %D%/test_damaged.c $(ENGINE_RIG)
%C%_test_damaged_LDADD = $(ENGINE_LIBS) $(SQLITE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_pressure
%C%_test_pressure_SOURCES = %D%/test_pressure.c $(ENGINE_RIG)
%C%_test_pressure_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_merge
%C%_test_merge_SOURCES = %D%/test_merge.c $(ENGINE_RIG)
%C%_test_merge_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
POOL_RIG = %D%/pool_rig.c %D%/pool_rig.h $(ENGINE_RIG)
UNIT_TESTS += %D%/test_pool
%C%_test_pool_SOURCES = %D%/test_pool.c $(POOL_RIG)
%C%_test_pool_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_templates
%C%_test_templates_SOURCES = %D%/test_templates.c $(POOL_RIG)
%C%_test_templates_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_import
%C%_test_import_SOURCES = %D%/test_import.c $(PARCEL_SAMPLE) $(ENGINE_RIG)
%C%_test_import_LDADD = $(PARCEL_LIBS) $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_spoiled
%C%_test_spoiled_SOURCES = %D%/test_spoiled.c $(ENGINE_RIG)
%C%_test_spoiled_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_fsck
%C%_test_fsck_SOURCES = %D%/test_fsck.c $(FAKES)
%C%_test_fsck_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
NET_RULES = %D%/net_rules.c %D%/net_rules.h
UNIT_TESTS += %D%/test_netpol
%C%_test_netpol_SOURCES = %D%/test_netpol.c $(NET_RULES)
%C%_test_netpol_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_netpol_plan
%C%_test_netpol_plan_SOURCES = %D%/test_netpol_plan.c $(NET_RULES)
%C%_test_netpol_plan_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_net_learned
%C%_test_net_learned_SOURCES = %D%/test_net_learned.c $(NET_RULES)
%C%_test_net_learned_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_nft
%C%_test_nft_SOURCES = %D%/test_nft.c $(NET_RULES)
%C%_test_nft_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
# Metrics: the engine's text, and the process that serves it.
UNIT_TESTS += %D%/test_metrics
%C%_test_metrics_SOURCES = %D%/test_metrics.c $(ENGINE_RIG)
%C%_test_metrics_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_metrics_http
tests_unit_test_metrics_http_LDADD = $(METRICS_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_agent_state
%C%_test_agent_state_SOURCES = %D%/test_agent_state.c $(ENGINE_RIG)
%C%_test_agent_state_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_events
%C%_test_events_SOURCES = %D%/test_events.c $(ENGINE_RIG)
%C%_test_events_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_webhook
%C%_test_webhook_SOURCES = %D%/test_webhook.c %D%/webhook_receiver.c \
	%D%/webhook_receiver.h %D%/front_pki.c %D%/front_pki.h $(ENGINE_RIG)
%C%_test_webhook_LDADD = libwebhook.a $(ENGINE_LIBS) $(CURL_LIBS) \
	$(MICROHTTPD_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += %D%/test_log
UNIT_TESTS += %D%/test_fields
%C%_test_fields_SOURCES = %D%/test_fields.c $(ENGINE_RIG)
%C%_test_fields_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
