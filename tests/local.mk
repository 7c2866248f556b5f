include %D%/unit/local.mk
include %D%/fuzz/local.mk
