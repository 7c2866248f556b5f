# The engine: the one process with power. All but main.c is in libengine.a;
# unit tests link that, with fakes for what is outside. Here is the life cycle:
# state, database, methods, limits of time. It calls the folders below; of what
# is here they know only the joints hv.h, net.h, image.h and slot.h.
noinst_LIBRARIES += libengine.a
libengine_a_CPPFLAGS = $(AM_CPPFLAGS) -DPKGLIBEXECDIR=\"$(pkglibexecdir)\"
libengine_a_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS) $(PROTOBUF_C_CFLAGS) \
	$(LIBVIRT_CFLAGS) $(LIBNL_CFLAGS) $(ZSTD_CFLAGS) $(SQLITE_CFLAGS) \
	$(INIH_CFLAGS) $(OPENSSL_CFLAGS) $(JSONC_CFLAGS)
ENGINE_LIBS = libengine.a libproto.a libbase.a $(SYSTEMD_LIBS) \
	$(PROTOBUF_C_LIBS) $(SQLITE_LIBS) $(INIH_LIBS) $(LIBVIRT_LIBS) \
	$(LIBNL_LIBS) $(OPENSSL_LIBS) $(ZSTD_LIBS) $(JSONC_LIBS) -lm
libengine_a_SOURCES =
libengine_a_SOURCES += \
	%D%/account.c %D%/account.h \
	%D%/agent.c %D%/agent.h \
	%D%/answer.c %D%/answer.h \
	%D%/api.c %D%/api.h \
	%D%/call.c %D%/call.h \
	%D%/config.c %D%/config.h \
	%D%/config_value.c %D%/config_value.h \
	%D%/daemon.c %D%/daemon.h \
	%D%/damaged.c %D%/damaged.h \
	%D%/ended.c %D%/ended.h \
	%D%/engine.c %D%/engine.h \
	%D%/event.c %D%/event.h \
	%D%/expose.c %D%/expose.h \
	%D%/front_link.c %D%/front_link.h \
	%D%/fsck.c %D%/fsck.h \
	%D%/fsck_host.c \
	%D%/fsck_offline.c \
	%D%/guest.c %D%/guest.h \
	%D%/guest_message.c \
	%D%/guest_still.c \
	%D%/hv.h \
	%D%/hv_call.c %D%/hv_call.h \
	%D%/idle.c %D%/idle.h \
	%D%/image.h \
	%D%/image_use.c %D%/image_use.h \
	%D%/lease.c %D%/lease.h \
	%D%/merge.c %D%/merge.h \
	%D%/metrics.c %D%/metrics.h \
	%D%/metrics_guest.c \
	%D%/metrics_link.c %D%/metrics_link.h \
	%D%/metrics_node.c \
	%D%/net.h \
	%D%/parcel.h \
	%D%/parcel_export.c \
	%D%/parcel_import.c \
	%D%/pb.h \
	%D%/pool.c %D%/pool.h \
	%D%/port.c %D%/port.h \
	%D%/pressure.c %D%/pressure.h \
	%D%/quota.c %D%/quota.h \
	%D%/recover.c %D%/recover.h \
	%D%/recover_clone.c %D%/recover_clone.h \
	%D%/recover_guest.c %D%/recover_guest.h \
	%D%/recover_net.c %D%/recover_net.h \
	%D%/recover_undo.c %D%/recover_undo.h \
	%D%/rpc.c %D%/rpc.h \
	%D%/rpc_check.c \
	%D%/rpc_image.c \
	%D%/rpc_node.c \
	%D%/rpc_port.c \
	%D%/rpc_sandbox.c \
	%D%/rpc_snapshot.c \
	%D%/rpc_stats.c \
	%D%/sandbox.c %D%/sandbox.h \
	%D%/sandbox_end.c \
	%D%/sandbox_fsm.c %D%/sandbox_fsm.h \
	%D%/sandbox_life.c \
	%D%/sandbox_ops.h \
	%D%/sandbox_save.c \
	%D%/sandbox_start.c \
	%D%/saves.c %D%/saves.h \
	%D%/selftest.c %D%/selftest.h \
	%D%/slot.h \
	%D%/slots.c %D%/slots.h \
	%D%/spec_check.c %D%/spec_check.h \
	%D%/store.c %D%/store.h \
	%D%/store_damaged.c \
	%D%/store_log.c \
	%D%/store_rows.h \
	%D%/store_sandbox.c \
	%D%/store_seal.c %D%/store_seal.h \
	%D%/store_sql.h \
	%D%/sweep.c %D%/sweep.h \
	%D%/task.c %D%/task.h \
	%D%/templates.c %D%/templates.h \
	%D%/template_now.c %D%/template_now.h \
	%D%/templates_answer.c %D%/templates_answer.h \
	%D%/webhook.c %D%/webhook.h

sbin_PROGRAMS += sandboxd
# With a malloc() that does not return without memory.
sandboxd_SOURCES = %D%/main.c daemon/base/mem_libs.c
sandboxd_LDADD = $(ENGINE_LIBS)
