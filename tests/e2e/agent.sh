#!/bin/bash
# agent.sh - the agent's own tests in a guest that is booted for them alone
. "$(dirname "$0")/lib.sh"
start_node

test_the_agent_passes_its_tests_as_init_of_a_guest() {
    local root rc=0
    root=$(find "$NODE_STATE/images" -name '*.raw' -size +100M | head -1)
    [ -n "$root" ] || skip "the node has no image"
    make -s -C "$build" tests/agent/test_agent_guest
    timeout 600 "$top/tests/agent/guest_boot.sh" "$build" "$root" || rc=$?
    [ $rc -ne 77 ] || skip "no QEMU"
    [ $rc -eq 0 ]
}

run_tests "$@"
