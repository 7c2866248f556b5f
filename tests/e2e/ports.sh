#!/bin/bash
# ports.sh - guests' ports from outside
. "$(dirname "$0")/lib.sh"
start_node
create
box=$id
"$ctl" exec "$box" -- sh -c 'mkdir -p /srv && echo served >/srv/index.html'
"$ctl" exec "$box" -- sh -c 'cd /srv && exec python3 -m http.server --bind 127.0.0.1 8000' >/dev/null 2>&1 &
server=$!

test_an_exposed_port_serves_what_listens_on_the_guests_localhost() {
    "$ctl" --json port expose "$box" 8000 >"$work/port"
    local url
    url="http://$(json hostAddress <"$work/port"):$(json hostPort <"$work/port")/"
    wait_for 20 sh -c "curl -sf '$url' | grep -q served"
    [ -n "$(json url <"$work/port")" ]
    expect 1 "$("$ctl" --json port list "$box" | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))')"
    "$ctl" port close "$box" 8000
    ! curl -sf --max-time 3 "$url"
}

test_a_forwarded_port_is_the_guests() {
    "$ctl" port forward "$box" 18431:8000 &
    local forward=$!
    wait_for 20 sh -c "curl -sf http://127.0.0.1:18431/ | grep -q served"
    kill $forward
    wait $forward 2>/dev/null || :
}

test_closing_what_is_not_exposed_is_not_found() {
    refused PORT_NOT_FOUND "" "$ctl" port close "$box" 4444
}

run_tests "$@"
status=$?
kill $server 2>/dev/null
exit $status
