#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_copy.sh - cp both ways, and a guest that lies
. "${srcdir:-.}/tests/ctl/lib.sh"
start_node
umask 022

# a tree with what trees have
src=$dir/src
mkdir -p "$src/sub/deep" "$src/empty"
printf 'x' >"$src/a"
head -c 2000000 /dev/urandom >"$src/sub/big"
: >"$src/sub/deep/nothing"
printf 'y' >"$src/sp ace"
printf 'n' >"$src/new
line"
printf 'b' >"$src/$(printf 'bad\377utf')"
ln -s sub/big "$src/link"
ln -s /nonexistent "$src/dangling"
chmod 750 "$src/sub/deep"
chmod 600 "$src/a"
chmod 755 "$src/sub/big"

run cp "$src" sb_1:/up
check "a tree up" exits 0
check "all of it" diff -r --no-dereference "$src" "$root/up"
check "file's mode" [ "$(stat -c %a "$root/up/a")" = 600 ]
check "directory's mode" [ "$(stat -c %a "$root/up/sub/deep")" = 750 ]
check "a link stays one" [ "$(readlink "$root/up/link")" = sub/big ]
run cp "$src" sb_1:/up
check "into a directory that is there" [ -f "$root/up/src/a" ]
rm -rf "$root/up/src"

run cp sb_1:/up "$dir/down"
check "a tree down" exits 0
check "all of it back" diff -r --no-dereference "$src" "$dir/down"
check "file's mode" [ "$(stat -c %a "$dir/down/a")" = 600 ]
check "directory's mode" [ "$(stat -c %a "$dir/down/sub/deep")" = 750 ]
check "no temporary file is left" [ -z "$(find "$dir/down" -name '.sandboxctl*')" ]
run cp sb_1:/up/a "$dir/down/sub"
check "a file into a directory" cmp -s "$src/a" "$dir/down/sub/a"
run cp sb_1:/up/a "$dir/renamed"
check "a file under another name" cmp -s "$src/a" "$dir/renamed"
run cp sb_1:/up/. "$dir/down/empty"
check "a directory's contents" cmp -s "$src/a" "$dir/down/empty/a"
run cp --json sb_1:/up/a "$dir/renamed"
check "JSON" prints '{"files":"1","bytes":"1","failed":"0"}'
printf 'piped' | "$ctl" cp - sb_1:/piped
check "standard input" [ "$(cat "$root/piped")" = piped ]

# a link that stands where a file goes is replaced, not written through
printf 'mine' >"$dir/mine"
ln -s "$dir/mine" "$dir/trap"
run cp sb_1:/up/a "$dir/trap"
check "never through a link" [ "$(cat "$dir/mine")" = mine ]

# sparse stays sparse
truncate -s 64M "$root/sparse"
printf 'end' >>"$root/sparse"
run cp sb_1:/sparse "$dir/sparse"
check "sparse content" cmp -s "$root/sparse" "$dir/sparse"
check "sparse blocks" [ "$(stat -c %b "$dir/sparse")" -lt 1000 ]

# partial failure
mkfifo "$src/fifo"
run cp "$src" sb_1:/up2
check "a FIFO is refused: status 1" exits 1
check "it is named" says fifo
rm "$src/fifo"
check "the rest is there" diff -r --no-dereference "$src" "$root/up2"
run cp "$dir/nosuch" sb_1:/x
check "no local file: 1" exits 1
run cp sb_1:/nosuch "$dir/x"
check "no remote file: 1" exits 1
check "no remote file: code" says FILE_NOT_FOUND
run cp sb_2:/x "$dir/x"
check "no sandbox: code" says SANDBOX_NOT_FOUND
ln -s loop "$root/loop"
run cp sb_1:/up "$root/loop"
check "a destination that loops" exits 1

# the hostile guest
mkdir "$dir/cell"
run cp sb_1:/hostile "$dir/cell/got"
check "lies: status 1" exits 1
check "nothing beside the destination" [ "$(ls "$dir/cell")" = got ]
check "nothing where its link points" [ -z "$(ls "$FAKE_OUTSIDE")" ]
check "no name escaped" [ -z "$(find "$dir" -name escaped)" ]
check "the honest file is there" [ "$(cat "$dir/cell/got/suid")" = "from the guest" ]
check "without its set-uid bit" [ "$(stat -c %a "$dir/cell/got/suid")" = 755 ]
check "no device" [ ! -e "$dir/cell/got/device" ]

# cat, ls
run cat sb_1 /up/a
check "cat" prints x
"$ctl" cat sb_1 /up/sub/big >"$dir/big"
check "cat of much" cmp -s "$dir/big" "$src/sub/big"
run ls sb_1 /up
check "ls shows all pages" [ "$(ls "$src" | wc -l)" -le "$(wc -l <"$dir/out")" ]
run ls --json sb_1 /up/sub
check "ls: names in base64" contains '"name":"Ymln"'
