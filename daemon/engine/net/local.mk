# Taps, nftables, what names and rules allow: what net.h promises. May call proc/.
libengine_a_SOURCES += \
	%D%/conntrack.c %D%/conntrack.h \
	%D%/denial.c %D%/denial.h \
	%D%/grant.c %D%/grant.h \
	%D%/link.c %D%/link.h \
	%D%/net.c \
	%D%/net_flows.c \
	%D%/net_learn.c \
	%D%/net_learned.c %D%/net_learned.h \
	%D%/net_names.c \
	%D%/net_priv.h \
	%D%/net_ranges.c \
	%D%/net_repair.c \
	%D%/net_rule.c \
	%D%/net_shapes.c \
	%D%/net_sockets.c %D%/net_sockets.h \
	%D%/net_splice.c \
	%D%/net_strays.c \
	%D%/net_taps.c %D%/net_taps.h \
	%D%/net_watch.c %D%/net_watch.h \
	%D%/netpol.h \
	%D%/netpol_base.c \
	%D%/netpol_hard.c %D%/netpol_hard.h \
	%D%/netpol_plan.c %D%/netpol_plan.h \
	%D%/netpol_rule.c %D%/netpol_rule.h \
	%D%/netpol_shape.c \
	%D%/netpol_slot.c \
	%D%/netpol_splice.c %D%/netpol_splice.h \
	%D%/nft.c %D%/nft.h \
	%D%/nft_batch.c %D%/nft_batch.h \
	%D%/nft_expr.c %D%/nft_expr.h \
	%D%/nft_put.h \
	%D%/nft_reply.c %D%/nft_reply.h \
	%D%/resolver_link.c %D%/resolver_link.h \
	%D%/splice_link.c %D%/splice_link.h \
	%D%/tap.c %D%/tap.h
