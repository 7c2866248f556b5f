# The network with real taps and nftables, in namespaces of its own: root only.
check_PROGRAMS += %D%/net_driver
tests_net_net_driver_SOURCES = %D%/net_driver.c
tests_net_net_driver_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
tests_net_net_driver_LDADD = $(ENGINE_LIBS)
check_PROGRAMS += %D%/fake_guest
tests_net_fake_guest_SOURCES = %D%/fake_guest.c
tests_net_fake_guest_LDADD =
EXTRA_DIST += %D%/run.sh %D%/harness.py %D%/rig.py %D%/golden.txt
EXTRA_DIST += %D%/test_packets.py %D%/test_names.py %D%/web.py
EXTRA_DIST += %D%/test_splice.py %D%/test_streams.py %D%/test_life.py
EXTRA_DIST += %D%/test_crash.py %D%/test_others.py
EXTRA_DIST += %D%/speed.py %D%/careless_splice.py
EXTRA_DIST += %D%/lossy_splice.py %D%/fragile_splice.py
