# What an installed node needs beside its programs.
#
# prefix=/usr/local without --sysconfdir means /etc (configure.ac): the daemon
# looks nowhere else. Units, users and directories go below the prefix, where
# systemd looks too.
systemunitdir = $(prefix)/lib/systemd/system
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
modulesloaddir = $(prefix)/lib/modules-load.d
catalogdir = $(prefix)/lib/systemd/catalog
completiondir = $(datadir)/bash-completion/completions

dist_man_MANS = %D%/sandboxctl.1 %D%/sandboxd.8 %D%/sandboxd.conf.5 \
	%D%/sandboxd-metrics.7
dist_catalog_DATA = %D%/sandboxd.catalog
nodist_systemunit_DATA = %D%/sandboxd.service
EXTRA_DIST += %D%/sandboxd.service.in %D%/sandboxd.conf \
	%D%/sandboxctl.bash %D%/sandboxd.sysusers %D%/sandboxd.tmpfiles \
	%D%/sandboxd.modules-load
CLEANFILES += %D%/sandboxd.service

%D%/sandboxd.service: %D%/sandboxd.service.in Makefile
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)sed -e 's|@sbindir[@]|$(sbindir)|g' \
		-e 's|@sysconfdir[@]|$(sysconfdir)|g' \
		$(srcdir)/packaging/sandboxd.service.in > $@.tmp && mv $@.tmp $@

# Renamed on the way, which _DATA cannot. A configuration that is there stays.
install-data-local:
	$(MKDIR_P) $(DESTDIR)$(sysusersdir) $(DESTDIR)$(tmpfilesdir) \
		$(DESTDIR)$(modulesloaddir) $(DESTDIR)$(completiondir) \
		$(DESTDIR)$(sysconfdir)/sandboxd/sandboxd.conf.d
	$(INSTALL_DATA) $(srcdir)/packaging/sandboxd.sysusers \
		$(DESTDIR)$(sysusersdir)/sandboxd.conf
	$(INSTALL_DATA) $(srcdir)/packaging/sandboxd.tmpfiles \
		$(DESTDIR)$(tmpfilesdir)/sandboxd.conf
	$(INSTALL_DATA) $(srcdir)/packaging/sandboxd.modules-load \
		$(DESTDIR)$(modulesloaddir)/sandboxd.conf
	$(INSTALL_DATA) $(srcdir)/packaging/sandboxctl.bash \
		$(DESTDIR)$(completiondir)/sandboxctl
	test -e $(DESTDIR)$(sysconfdir)/sandboxd/sandboxd.conf || \
		$(INSTALL_DATA) $(srcdir)/packaging/sandboxd.conf \
		$(DESTDIR)$(sysconfdir)/sandboxd/sandboxd.conf

uninstall-local:
	rm -f $(DESTDIR)$(sysusersdir)/sandboxd.conf \
		$(DESTDIR)$(tmpfilesdir)/sandboxd.conf \
		$(DESTDIR)$(modulesloaddir)/sandboxd.conf \
		$(DESTDIR)$(completiondir)/sandboxctl
	! cmp -s $(srcdir)/packaging/sandboxd.conf \
		$(DESTDIR)$(sysconfdir)/sandboxd/sandboxd.conf || \
		rm -f $(DESTDIR)$(sysconfdir)/sandboxd/sandboxd.conf
