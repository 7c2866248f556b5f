# The network with real taps and nftables, in namespaces of its own: root only.
check_PROGRAMS += %D%/net_driver
tests_net_net_driver_SOURCES = %D%/net_driver.c
tests_net_net_driver_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
tests_net_net_driver_LDADD = $(ENGINE_LIBS)
