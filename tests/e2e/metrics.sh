#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# metrics.sh - what a Prometheus server gets of a real node
. "$(dirname "$0")/lib.sh"
start_node
port=$((20000 + RANDOM % 20000))
"$top/scripts/node" restart --state "$NODE_STATE" --set "metrics.listen=127.0.0.1:$port" >/dev/null 2>&1
create --memory 2048
box=$id

scrape() { curl -sf --max-time 10 "http://127.0.0.1:$port$1"; }

# value NAME{LABELS} - of one sample; empty when there is none
value() { scrape "${2:-/metrics}" | awk -v n="$1" '{ i = length(n); if (substr($0, 1, i + 1) == n " ") print $NF }'; }

test_promtool_finds_nothing_wrong() {
    command -v promtool >/dev/null || skip "there is no promtool"
    scrape /metrics | promtool check metrics
    scrape /metrics/sandboxes | promtool check metrics
}

test_calls_are_counted_by_method_and_code() {
    local name='sandboxd_rpc_duration_seconds_count{method="Exec",code="OK"}' before after
    "$ctl" exec "$box" -- true
    sleep 0.6 # a text holds for half a second
    before=$(value "$name")
    "$ctl" exec "$box" -- true
    "$ctl" exec "$box" -- false || :
    sleep 0.6
    after=$(value "$name")
    expect 2 $((after - before))
}

used_more() { awk -v a="$2" -v b="$(value "$1" /metrics/sandboxes)" 'BEGIN { exit !(b > a + 1) }'; }

test_a_busy_guest_uses_cpu_time() {
    local name="sandbox_cpu_seconds_total{sandbox=\"$box\"}" before
    before=$(value "$name" /metrics/sandboxes)
    "$ctl" exec "$box" -- sh -c 'timeout 3 sh -c "while :; do :; done"' || :
    # A measurement holds for some seconds.
    wait_for 20 used_more "$name" "$before"
}

test_the_gauges_tell_the_node() {
    expect 1 "$(value sandboxd_libvirt_up)"
    expect 1 "$(value sandboxd_front_up)"
    [ "$(value 'sandboxd_sandboxes{state="RUNNING"}')" -ge 1 ]
    expect 2147483648 "$(value "sandbox_memory_limit_bytes{sandbox=\"$box\"}" /metrics/sandboxes)"
    scrape /metrics | grep -q '^sandboxd_build_info{version="[0-9.]*",node="'
}

test_a_killed_process_is_replaced() {
    eval "$("$top/scripts/node" status --state "$NODE_STATE")"
    kill -KILL "$(pgrep -P "$pid" -f sandboxd-metrics)"
    wait_for 20 scrape /metrics
}

test_it_has_no_power() {
    local p
    eval "$("$top/scripts/node" status --state "$NODE_STATE")"
    p=$(pgrep -P "$pid" -f sandboxd-metrics)
    grep -q '^CapEff:.0000000000000000$' "/proc/$p/status"
    grep -q '^Seccomp:.2$' "/proc/$p/status"
    grep -q '^NoNewPrivs:.1$' "/proc/$p/status"
    if grep -q '^Uid:.0' "/proc/$p/status"; then return 1; fi
}

run_tests "$@"
failed=$?
"$top/scripts/node" restart --state "$NODE_STATE" --set metrics.listen= >/dev/null 2>&1
exit $failed
