include %D%/unit/local.mk
include %D%/fuzz/local.mk
include %D%/net/local.mk
include %D%/host/local.mk
include %D%/ctl/local.mk
include %D%/interop/local.mk
include %D%/agent/local.mk
include %D%/bench/local.mk
