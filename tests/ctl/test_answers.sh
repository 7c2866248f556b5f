#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_answers.sh - exit statuses, error texts, JSON and tables of sandboxctl
. "${srcdir:-.}/tests/ctl/lib.sh"

run get sb_1
check "no node: status 3" exits 3
check "no node: the address is named" says "$dir/node.sock"
run --connect unix:/nonexistent/sock get sb_1
check "--connect beats the environment" says /nonexistent/sock

start_node

# usage
run
check "no command: status 2" exits 2
run frobnicate
check "unknown command: status 2" exits 2
check "unknown command is named" says frobnicate
run port
check "half a command: status 2" exits 2
check "half a command: what there is" says "'port expose'"
run get
check "missing word: status 2" exits 2
run get sb_1 sb_2
check "word too many: status 2" exits 2
run get --nope sb_1
check "unknown option: status 2" exits 2
run create
check "create without image: status 2" exits 2
run create --image i --cpu two
check "bad number: status 2" exits 2
run create --image i --timeout 5x
check "bad duration: status 2" exits 2
run create --image i --timeout 1s --timeout 2s
check "an option twice: status 2" exits 2
run create --image i --env NOEQUALS
check "bad pair: status 2" exits 2
run create --image i --allow 'a b'
check "bad rule: status 2" exits 2
run create --image i --egress maybe
check "bad egress: status 2" exits 2
run exec sb_1
check "exec without command: status 2" exits 2
run exec sb_1 true
check "exec without --: status 2" exits 2
run cp a b
check "cp between local paths: status 2" exits 2
run --connect 127.0.0.1:1 get sb_1
check "TCP without certificates: status 2" exits 2
run --help
check "help: status 0" exits 0
run exec --help
check "help of a command: status 0" exits 0

# answers
run create --image debian:12
check "create prints the id" prints sb_1
run create --image none
check "refused: status 1" exits 1
check "refused: REASON: text" [ "$err" = "IMAGE_NOT_FOUND: there is no image 'none'" ]
run --json create --image debian:12 --id my-box --cpu 4 --timeout 5m \
	--env 'A=1=2' --env 'B=' --allow 'example.com:443,8000-8010' \
	--allow '10.0.0.0/8:53/udp' --egress deny --allow-port 80
check "JSON: id" contains '"id":"my-box"'
check "JSON: enum by name" contains '"state":"SANDBOX_STATE_RUNNING"'
check "JSON: 64-bit as string" contains '"generation":"9007199254740993"'
check "JSON: camel case" contains '"timeoutMs":300000'
check "JSON: time" contains '"createdAt":"2023-11-14T22:13:20.500Z"'
check "JSON: map" contains '"env":{"A":"1=2","B":""}'
check "JSON: rules" contains '"allow":[{"target":"example.com","ports":[{"first":443,"last":443},{"first":8000,"last":8010}],'
check "JSON: network" contains '{"target":"10.0.0.0/8","ports":[{"first":53,"last":53}],"protocol":"PROTOCOL_UDP"'
check "JSON: allowPorts" contains '"allowPorts":[80]'
check "JSON: unset message is left out" [ -z "$(grep -o pausedAt "$dir/out")" ]
run list --json
check "list is an array" [ "$(head -c 12 "$dir/out")" = '[{"id":"sb_1' ]
run list
check "list: head and one line" [ "$(wc -l <"$dir/out")" = 2 ]
run get sb_2
check "unknown sandbox: status 1" exits 1
check "unknown sandbox: code" says SANDBOX_NOT_FOUND:
run pause sb_1
check "wrong state: code" says INVALID_STATE:
run terminate sb_1
check "terminate: status 0" exits 0
check "terminate is silent" prints ""
run terminate sb_stuck
check "not ended yet: status 0" exits 0
check "not ended yet: why" says "libvirt hangs"
run fork snap_1 --count 3
check "fork of a snapshot: an id a line" [ "$(wc -l <"$dir/out")" = 3 ]
run snapshot list
check "snapshots: head and a line each" [ "$(wc -l <"$dir/out")" = 3 ]
cell() { [ "$(sed -n "$1p" "$dir/out" | awk '{ print $NF }')" = "$2" ]; }
check "snapshots: a column of problems" cell 1 PROBLEM
check "snapshots: a good one has none" cell 2 -
check "snapshots: a damaged one's" cell 3 STATE_UNREADABLE
run snapshot list --json
check "snapshots, JSON: a problem" contains '"problem":"STATE_UNREADABLE"'
run resume sb_1
check "a method the node has not: its code" says UNIMPLEMENTED:
run get sb_1 --json --connect "unix:$dir/node.sock"
check "options behind the command" contains '"id":"sb_1"'
run doctor
check "doctor: all well" exits 0

run terminate sb_hangup
check "connection lost: status 3" exits 3
wait "$node"
FAKE_PROBLEM=1
export FAKE_PROBLEM
start_node
run doctor
check "doctor: a problem: status 1" exits 1
check "doctor: names it" contains "The pool is empty."
