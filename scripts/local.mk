# What runs from the tree, and the two that an installed node needs too.
EXTRA_DIST += %D%/packages %D%/install-deps
dist_pkglibexec_SCRIPTS += %D%/build-guest-kernel %D%/image-build
