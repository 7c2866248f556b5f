# A whole node over a stand-in for the hypervisor, beside a reference model:
# scripts/test model. Needs root; built by make check, not run by it.
check_PROGRAMS += %D%/model_node %D%/model %D%/soak
MODEL_HOUSE = %D%/house.c %D%/house.h %D%/vm.c %D%/vm.h tests/agent/client.c \
	tests/agent/client.h
MODEL_LIBS = libbase.a libgrpc.a libproto.a $(NGHTTP2_LIBS) \
	$(PROTOBUF_C_LIBS) $(SYSTEMD_LIBS)
%C%_model_node_SOURCES = %D%/node.c %D%/vm.c %D%/vm.h \
	tests/unit/file_hv.c tests/unit/file_hv.h \
	tests/unit/fakes.h tests/unit/fake_world.c tests/unit/fake_net.c \
	tests/unit/fake_image.c
%C%_model_node_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests \
	-I$(top_srcdir)/tests/unit
%C%_model_node_LDADD = $(ENGINE_LIBS)
EXTRA_%C%_model_node_DEPENDENCIES = sandbox-agent$(EXEEXT) \
	sandboxd-front$(EXEEXT)
%C%_model_SOURCES = %D%/model.c %D%/ref.c %D%/ref.h %D%/ref_audit.c \
	%D%/step_life.c %D%/step_guest.c %D%/step_fault.c $(MODEL_HOUSE)
%C%_model_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
%C%_model_LDADD = $(MODEL_LIBS)
%C%_soak_SOURCES = %D%/soak.c $(MODEL_HOUSE)
%C%_soak_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
%C%_soak_LDADD = $(MODEL_LIBS)
EXTRA_%C%_soak_DEPENDENCIES = tests/model/model_node$(EXEEXT)
EXTRA_%C%_model_DEPENDENCIES = tests/model/model_node$(EXEEXT)
