#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_shell.sh - our shell scripts hold nothing that shellcheck warns of
command -v shellcheck >/dev/null || {
	echo "shellcheck is not installed"
	exit 77
}
cd "${srcdir:-.}" || exit 1
# What says that it is a shell's, whatever its name.
find scripts tests images packaging debian -type f ! -path '*/corpus/*' \
	-exec grep -lZm 1 -E '^#!/bin/(ba|da)?sh' {} + |
	xargs -0 shellcheck --severity=warning --format=gcc
