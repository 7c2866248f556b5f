#!/bin/bash
# life.sh - create, get, list, update, terminate, and what is refused
. "$(dirname "$0")/lib.sh"
start_node

test_a_created_sandbox_runs_and_tells_all_its_fields() {
    create --cpu 2 --memory 2048 --disk 6144 --env A=1 --metadata user=u1 --workdir /srv/w
    "$ctl" --json get "$id" >"$work/got"
    expect SANDBOX_STATE_RUNNING "$(json state <"$work/got")"
    expect 2048 "$(json resources.memoryMib <"$work/got")"
    expect 6144 "$(json resources.diskMib <"$work/got")"
    expect 1 "$(json env.A <"$work/got")"
    expect u1 "$(json metadata.user <"$work/got")"
    expect /srv/w "$(json workdir <"$work/got")"
    expect 1800000 "$(json timeoutMs <"$work/got")"
    [ -n "$(json startedAt <"$work/got")" ]
}

test_the_client_may_choose_the_id() {
    local mine=mine-$$
    made+=("$mine")
    echo "$mine" >>"$work/made"
    "$ctl" create --image "$image" --id "$mine" --timeout 5m >/dev/null
    expect SANDBOX_STATE_RUNNING "$(state_of "$mine")"
    refused ALREADY_EXISTS "$mine" "$ctl" create --image "$image" --id "$mine"
}

test_the_guest_has_the_disk_memory_and_cpus_that_were_asked() {
    create --cpu 2 --memory 2048 --disk 7168
    expect 2 "$("$ctl" exec "$id" -- nproc)"
    local kib mem
    kib=$("$ctl" exec "$id" -- df -k --output=size / | tail -1)
    [ "$kib" -gt $((6500 * 1024)) ]
    mem=$("$ctl" exec "$id" -- awk '/MemTotal/ {print $2}' /proc/meminfo)
    [ "$mem" -gt $((1800 * 1024)) ] && [ "$mem" -le $((2048 * 1024)) ]
}

test_programs_lie_at_fixed_addresses_only_where_code_is_emulated() {
    local want=2
    create
    [ "$("$ctl" --json node | json accelerator)" = ACCELERATOR_KVM ] || want=0
    expect "$want" "$("$ctl" exec "$id" -- cat /proc/sys/kernel/randomize_va_space)"
}

test_listing_filters_by_metadata_and_pages() {
    local tag=t$$ i
    for i in 1 2 3; do create --metadata "tag=$tag" --memory 2048; done
    expect 3 "$("$ctl" --json list --metadata "tag=$tag" | json_len)"
    expect 2 "$("$ctl" --json list --metadata "tag=$tag" --limit 2 | json_len)"
    expect 1 "$("$ctl" --json list --metadata "tag=$tag" --limit 2 --offset 2 | json_len)"
    expect 0 "$("$ctl" --json list --metadata "tag=other$$" | json_len)"
}

json_len() { python3 -c 'import json,sys; print(len(json.load(sys.stdin)))'; }

test_a_terminated_sandbox_is_told_so_and_can_do_nothing() {
    create
    "$ctl" terminate "$id" >/dev/null
    expect SANDBOX_STATE_TERMINATED "$(state_of "$id")"
    refused INVALID_STATE TERMINATED "$ctl" resume "$id"
    refused INVALID_STATE "" "$ctl" exec "$id" -- true
}

test_an_unknown_sandbox_is_not_found() {
    refused SANDBOX_NOT_FOUND nobody "$ctl" get nobody
    refused SANDBOX_NOT_FOUND nobody "$ctl" exec nobody -- true
    refused SANDBOX_NOT_FOUND nobody "$ctl" terminate nobody
}

bad() { # WORD OPTIONS..
    local word=$1
    shift
    refused INVALID_CONFIG "$word" "$ctl" create --image "$image" "$@"
}

test_bad_values_name_the_field_and_create_nothing() {
    local before after long
    before=$("$ctl" --json list --limit 100 | json_len)
    bad cpu --cpu 3
    bad memory --memory 2047
    bad memory --memory 16385
    bad disk --disk 5119
    bad disk --disk 51201
    bad timeout --timeout 999ms
    bad timeout --timeout 25h
    bad idle --idle-timeout 25h
    bad workdir --workdir relative
    bad env --env '1A=x'
    long=$(printf 'x%.0s' $(seq 257))
    bad metadata --metadata "k=$long"
    local many=() i
    for i in $(seq 21); do many+=(--metadata "k$i=v"); done
    bad metadata "${many[@]}"
    bad sandbox_id --id 'no/slash'
    local rc=0
    "$ctl" create --image "$image" --egress deny --allow 'not a name' 2>/dev/null || rc=$?
    expect 2 "$rc"
    refused IMAGE_NOT_FOUND nosuch "$ctl" create --image nosuch:1
    after=$("$ctl" --json list --limit 100 | json_len)
    expect "$before" "$after"
}

test_the_maximum_life_ends_a_sandbox() {
    id=$("$ctl" --json create --image "$image" --timeout 8s | json id)
    echo "$id" >>"$work/made"
    wait_for 40 sh -c "\"$ctl\" --json get $id | grep -q TERMINATED"
    expect TIMEOUT "$("$ctl" --json get "$id" | json stateReason)"
}

test_update_prolongs_a_life() {
    create
    "$ctl" update "$id" --timeout 2h >/dev/null
    expect 7200000 "$("$ctl" --json get "$id" | json timeoutMs)"
}

test_events_tell_the_life_in_order() {
    create
    "$ctl" terminate "$id" >/dev/null
    local types
    types=$("$ctl" --json events --sandbox "$id" | python3 -c '
import json, sys
print(" ".join(json.loads(l)["type"] for l in sys.stdin))')
    case $types in
    *sandbox.created*sandbox.started*sandbox.terminated*) ;;
    *) echo "$types"; return 1 ;;
    esac
}

test_the_node_describes_itself() {
    "$ctl" --json node >"$work/node.json"
    [ -n "$(json version <"$work/node.json")" ]
    [ -n "$(json accelerator <"$work/node.json")" ]
    [ "$(json sandboxesMax <"$work/node.json")" -gt 0 ]
}

run_tests "$@"
