# What runs from the tree, and the two that an installed node needs too.
dist_pkglibexec_SCRIPTS += %D%/build-guest-kernel %D%/image-build
