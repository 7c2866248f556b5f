# The engine: the one process with power. All but main.c is in libengine.a;
# unit tests link that, with fakes for what is outside.
noinst_LIBRARIES += libengine.a
libengine_a_CPPFLAGS = $(AM_CPPFLAGS) -DPKGLIBEXECDIR=\"$(pkglibexecdir)\"
libengine_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(LIBVIRT_CFLAGS) $(LIBNL_CFLAGS) $(ZSTD_CFLAGS) $(SQLITE_CFLAGS) \
	$(INIH_CFLAGS) $(OPENSSL_CFLAGS) $(JSONC_CFLAGS)
ENGINE_LIBS = libengine.a libproto.a libbase.a $(SYSTEMD_LIBS) \
	$(PROTOBUF_C_LIBS) $(SQLITE_LIBS) $(INIH_LIBS) $(LIBVIRT_LIBS) \
	$(LIBNL_LIBS) $(OPENSSL_LIBS) $(ZSTD_LIBS) $(JSONC_LIBS) -lm
libengine_a_SOURCES = %D%/hv.h %D%/image.h %D%/net.h %D%/slot.h
libengine_a_SOURCES += %D%/front_link.c %D%/front_link.h
# Processes beside the engine: those it keeps running, those for one piece of
# work.
libengine_a_SOURCES += %D%/spawn.c %D%/spawn.h
libengine_a_SOURCES += %D%/helper.c %D%/helper.h
libengine_a_SOURCES += %D%/worker.c %D%/worker.h
libengine_a_SOURCES += %D%/denial.c %D%/denial.h
libengine_a_SOURCES += %D%/resolver_link.c %D%/resolver_link.h
libengine_a_SOURCES += %D%/splice_link.c %D%/splice_link.h
libengine_a_SOURCES += %D%/config.c %D%/config.h
libengine_a_SOURCES += %D%/config_value.c %D%/config_value.h
libengine_a_SOURCES += %D%/quota.c %D%/quota.h
libengine_a_SOURCES += %D%/port.c %D%/port.h
# Guests: libvirt, QEMU, their memory and disks, snapshots and templates.
libengine_a_SOURCES += \
	%D%/child.c %D%/child.h \
	%D%/disk.c %D%/disk.h \
	%D%/hv_conn.c %D%/hv_conn.h \
	%D%/hv_guest.h \
	%D%/hv_libvirt.c %D%/hv_libvirt.h \
	%D%/hv_merge.c \
	%D%/hv_monitor.c %D%/hv_monitor.h \
	%D%/hv_save.c %D%/hv_saving.h \
	%D%/hv_selftest.c \
	%D%/hv_start.c \
	%D%/hv_whole.c %D%/hv_whole.h \
	%D%/hv_limits.c %D%/hv_limits.h \
	%D%/hv_xml.c %D%/hv_xml.h \
	%D%/mem_file.c %D%/mem_file.h \
	%D%/mem_index.c %D%/mem_index.h \
	%D%/mem_pages.c %D%/mem_pages.h \
	%D%/parallel.c %D%/parallel.h \
	%D%/parcel_sheet.c %D%/parcel_sheet.h \
	%D%/probe.c %D%/probe.h \
	%D%/qemu_proc.c %D%/qemu_proc.h \
	%D%/snapshot.c %D%/snapshot.h \
	%D%/snapshot_manifest.c %D%/snapshot_manifest.h \
	%D%/template.c %D%/template.h
# The network: taps, nftables, what names and rules allow.
libengine_a_SOURCES += \
	%D%/conntrack.c %D%/conntrack.h \
	%D%/link.c %D%/link.h \
	%D%/grant.c %D%/grant.h \
	%D%/net.c %D%/net_ahead.c %D%/net_flows.c %D%/net_names.c %D%/net_priv.h \
	%D%/net_splice.c \
	%D%/net_repair.c %D%/net_rule.c \
	%D%/net_learn.c \
	%D%/net_learned.c %D%/net_learned.h \
	%D%/net_sockets.c %D%/net_sockets.h \
	%D%/net_taps.c %D%/net_taps.h \
	%D%/net_watch.c %D%/net_watch.h \
	%D%/netpol.h %D%/netpol_base.c %D%/netpol_slot.c \
	%D%/netpol_hard.c %D%/netpol_hard.h \
	%D%/netpol_plan.c %D%/netpol_plan.h \
	%D%/netpol_rule.c %D%/netpol_rule.h \
	%D%/netpol_splice.c %D%/netpol_splice.h \
	%D%/nft.c %D%/nft.h \
	%D%/nft_batch.c %D%/nft_batch.h %D%/nft_put.h \
	%D%/nft_expr.c %D%/nft_expr.h \
	%D%/nft_reply.c %D%/nft_reply.h \
	%D%/tap.c %D%/tap.h
# Images: the store, and what turns an archive into one.
libengine_a_SOURCES += \
	%D%/image.c \
	%D%/image_import.c \
	%D%/image_maker.c %D%/image_maker.h \
	%D%/image_publish.c %D%/image_publish.h \
	%D%/image_manifest.c %D%/image_manifest.h \
	%D%/image_use.c %D%/image_use.h \
	%D%/image_store.h
# The life cycle: state, database, methods, limits of time.
libengine_a_SOURCES += \
	%D%/account.c \
	%D%/account.h \
	%D%/answer.c \
	%D%/answer.h \
	%D%/api.c \
	%D%/api.h \
	%D%/call.c \
	%D%/call.h \
	%D%/daemon.c \
	%D%/daemon.h \
	%D%/engine.c \
	%D%/engine.h \
	%D%/event.c \
	%D%/event.h \
	%D%/expose.c \
	%D%/expose.h \
	%D%/fsck.c \
	%D%/fsck.h \
	%D%/fsck_offline.c \
	%D%/guest.c \
	%D%/guest.h \
	%D%/guest_message.c \
	%D%/guest_still.c \
	%D%/hv_call.c \
	%D%/hv_call.h \
	%D%/idle.c %D%/idle.h \
	%D%/pressure.c %D%/pressure.h \
	%D%/laps.c \
	%D%/lease.c \
	%D%/lease.h \
	%D%/merge.c \
	%D%/merge.h \
	%D%/parcel.h \
	%D%/parcel_export.c \
	%D%/parcel_import.c \
	%D%/parcel_keep.c \
	%D%/parcel_keep.h \
	%D%/parcel_proc.c \
	%D%/parcel_proc.h \
	%D%/pb.h \
	%D%/pool.c \
	%D%/pool.h \
	%D%/metrics.c \
	%D%/metrics.h \
	%D%/metrics_guest.c \
	%D%/metrics_link.c \
	%D%/metrics_link.h \
	%D%/metrics_node.c \
	%D%/recover.c \
	%D%/recover.h \
	%D%/rpc.c \
	%D%/rpc.h \
	%D%/rpc_check.c \
	%D%/rpc_image.c \
	%D%/rpc_node.c \
	%D%/rpc_port.c \
	%D%/rpc_sandbox.c \
	%D%/rpc_snapshot.c \
	%D%/rpc_stats.c \
	%D%/sandbox.c \
	%D%/sandbox.h \
	%D%/sandbox_end.c \
	%D%/sandbox_fsm.c \
	%D%/sandbox_fsm.h \
	%D%/sandbox_life.c \
	%D%/sandbox_ops.h \
	%D%/sandbox_save.c \
	%D%/sandbox_start.c \
	%D%/saves.c \
	%D%/saves.h \
	%D%/selftest.c \
	%D%/selftest.h \
	%D%/slots.c \
	%D%/slots.h \
	%D%/spec_check.c \
	%D%/spec_check.h \
	%D%/store.c \
	%D%/store.h \
	%D%/store_log.c \
	%D%/store_sandbox.c \
	%D%/store_seal.c \
	%D%/store_seal.h \
	%D%/store_sql.h \
	%D%/task.c \
	%D%/task.h \
	%D%/templates.c \
	%D%/templates.h \
	%D%/templates_answer.c \
	%D%/templates_answer.h \
	%D%/webhook.c \
	%D%/webhook.h

sbin_PROGRAMS += sandboxd
sandboxd_SOURCES = %D%/main.c
sandboxd_LDADD = $(ENGINE_LIBS)
