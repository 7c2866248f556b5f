#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_layers.sh - each folder includes only what HACKING.md lets it call
srcdir=${srcdir:-.}
failed=0

# may FOLDER PATTERN..: its sources include, of ours, only what matches
may() {
	folder=$1
	shift
	# And what is generated from the .proto files.
	set -- "$@" 'sandbox/*' 'google/*' 'grpc/*'
	grep -ho '^#include "[^"]*"' "$srcdir/$folder"/*.[ch] |
		cut -d'"' -f2 | sort -u >layers.$$
	[ -s layers.$$ ] || {
		echo "$folder: no sources"
		failed=1
	}
	while read -r header; do
		[ ! -e "$srcdir/$folder/$header" ] || continue
		for pattern in "$@"; do
			# shellcheck disable=SC2254
			case $header in $pattern) continue 2 ;; esac
		done
		echo "$folder includes $header"
		failed=1
	done <layers.$$
	rm -f layers.$$
}

may proto 'base/list.h'
may daemon/base 'base/*' grpc.h resync.h
for folder in front resolver splice metrics webhook image ctl; do
	may daemon/$folder "$folder/*" 'base/*' grpc.h resync.h
done
may daemon/parcel 'parcel/*' 'base/*' 'engine/snapshot/*'
may guest-agent 'base/*' grpc.h resync.h

# Of the engine's folders each knows itself, the ones below it, and the joints.
joints="engine/hv.h engine/net.h engine/image.h engine/slot.h"
# shellcheck disable=SC2086
{
	may daemon/engine/proc 'engine/proc/*' 'base/*'
	may daemon/engine/image 'engine/image/*' 'engine/proc/*' 'base/*' $joints
	may daemon/engine/net 'engine/net/*' 'engine/proc/*' 'base/*' $joints
	may daemon/engine/snapshot 'engine/snapshot/*' 'engine/proc/*' 'base/*' \
		$joints
	may daemon/engine/hv 'engine/hv/*' 'engine/snapshot/*' 'engine/proc/*' \
		'base/*' $joints
}
exit $failed
