#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# canary.sh - secrets put in at every door come out at none but the right one
#
# Each secret is a random word. After use, logs, events, webhooks, metrics, the
# database, process lists and files that others can read are searched for all
# of them, in clear, in hex (dumps of the database) and in base64.
. "$(dirname "$0")/lib.sh"
start_node

word() { head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n' | sed 's/^/cnry/'; }
env_of_sandbox=$(word) env_of_exec=$(word) from_stdin=$(word) argument=$(word)
content=$(word) read_back=$(word) hook_key=$(word)$(word) taken_env=$(word)
port=$((20000 + RANDOM % 20000))

# What to look for, one a line.
patterns() {
    local w
    for w in "$env_of_sandbox" "$env_of_exec" "$from_stdin" "$argument" "$content" "$read_back" "$hook_key" "$taken_env"; do
        echo "$w"
        printf %s "$w" | od -An -tx1 | tr -d ' \n'
        echo
        # The part of the base64 that does not hang on what stands before.
        printf %s "$w" | base64 -w0 | cut -c1-32
        echo
    done | sed '/^$/d' >"$work/patterns"
}

# clean NAME FILE.. - none of them holds any; says which does
clean() {
    local name=$1 found
    shift
    found=$(grep -laF -f "$work/patterns" -- "$@" 2>/dev/null || :)
    [ -z "$found" ] || {
        echo "$name: a secret is in:"
        echo "$found" | head
        grep -aoF -f "$work/patterns" -- "$@" 2>/dev/null | sort | uniq -c | head
        return 1
    }
}

# Takes what is posted, and keeps it.
receiver() {
    python3 - "$port" "$work/posted" <<'PY' &
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open(sys.argv[2], "ab") as f:
            f.write(str(self.headers).encode() + body + b"\n")
        self.send_response(204)
        self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
    receiver_pid=$!
}

with_hook() {
    printf '%s\n' "$hook_key" >"$NODE_STATE/hook.secret"
    chmod 0600 "$NODE_STATE/hook.secret"
    "$top/scripts/node" restart --state "$NODE_STATE" --set "webhook.url=http://127.0.0.1:$port/" \
        --set "webhook.secret_file=$NODE_STATE/hook.secret" --set "metrics.listen=127.0.0.1:$((port + 1))" >/dev/null 2>&1
}

without_hook() {
    kill "$receiver_pid" 2>/dev/null
    "$top/scripts/node" restart --state "$NODE_STATE" --set webhook.url= --set webhook.secret_file= --set metrics.listen= >/dev/null 2>&1
    rm -f "$NODE_STATE/hook.secret"
}

receiver
with_hook
patterns
create --memory 2048 --env "SECRET=$env_of_sandbox"
box=$id

use_them() {
    expect "$env_of_sandbox" "$("$ctl" exec "$box" -- printenv SECRET)"
    expect "$env_of_exec" "$("$ctl" exec "$box" --env "OTHER=$env_of_exec" -- printenv OTHER)"
    expect "$taken_env" "$(TAKEN=$taken_env "$ctl" exec "$box" --env TAKEN -- printenv TAKEN)"
    expect "$from_stdin" "$(printf %s "$from_stdin" | "$ctl" exec -i "$box" -- cat)"
    expect "$argument" "$("$ctl" exec "$box" -- echo "$argument")"
    printf %s "$content" >"$work/f"
    "$ctl" cp "$work/f" "$box:/root/f"
    expect "$content" "$("$ctl" cat "$box" /root/f)"
    "$ctl" exec "$box" -- sh -c "echo $read_back >/root/g"
    "$ctl" search "$box" "$read_back" /root >/dev/null
    # Failures tell of what failed, not with what.
    "$ctl" exec "$box" --env "OTHER=$env_of_exec" -- "/no/such/program" "$argument" 2>/dev/null || :
    "$ctl" exec "$box" --cwd /nowhere --env "OTHER=$env_of_exec" -- true 2>/dev/null || :
    expect "$env_of_sandbox" "$("$ctl" --json get "$box" | json env.SECRET)"
}

(set -e; use_them) >"$work/used" 2>&1
used=$?

test_secrets_arrive_where_they_should() {
    cat "$work/used"
    return $used
}

test_no_argument_of_a_process_holds_them() {
    local p exe seen=0
    "$ctl" exec "$box" --env "OTHER=$env_of_exec" -- sleep 1000 &
    local client=$!
    wait_for 10 sh -c "'$ctl' ps '$box' | grep -q 'sleep 1000'"
    for p in /proc/[0-9]*; do
        exe=$(readlink "$p/exe" 2>/dev/null) || continue
        case ${exe##*/} in
        sandboxd* | sandboxctl | qemu-system-* | libvirtd)
            seen=$((seen + 1))
            tr '\0' '\n' <"$p/cmdline" >"$work/cmdline" 2>/dev/null || continue
            clean "cmdline of ${exe##*/}" "$work/cmdline"
            tr '\0' '\n' <"$p/environ" >"$work/environ" 2>/dev/null || continue
            clean "environ of ${exe##*/}" "$work/environ"
            ;;
        esac
    done
    kill $client 2>/dev/null || :
    wait $client 2>/dev/null || :
    [ $seen -ge 6 ]
}

test_a_leak_would_be_found() {
    local form
    for form in "$env_of_sandbox" "$(printf %s "$content" | od -An -tx1 | tr -d ' \n')" "$(printf %s "$from_stdin" | base64 -w0)"; do
        echo "some text $form and more" >"$work/leak"
        if clean leak "$work/leak" >/dev/null; then
            echo "not found: $form"
            return 1
        fi
    done
}

test_logs_hold_none() {
    mapfile -t logs < <(find "$NODE_STATE" -path "$NODE_STATE/images" -prune -o -type f \( -name log -o -name '*.log' \) -print)
    [ ${#logs[@]} -ge 2 ]
    clean logs "${logs[@]}"
}

test_events_and_webhooks_hold_none() {
    local last
    "$ctl" --json events >"$work/events"
    grep -q exec.completed "$work/events"
    clean events "$work/events"
    last=$(tail -n 1 "$work/events" | json id)
    wait_for 30 grep -q "\"id\":\"$last\"" "$work/posted"
    grep -q "webhook-signature: v1," "$work/posted"
    clean webhooks "$work/posted"
}

test_metrics_hold_none() {
    curl -sf "http://127.0.0.1:$((port + 1))/metrics" >"$work/metrics"
    curl -sf "http://127.0.0.1:$((port + 1))/metrics/sandboxes" >>"$work/metrics"
    grep -q "sandbox=\"$box\"" "$work/metrics"
    clean metrics "$work/metrics"
}

# The answer to a create is kept for its request_id, and a pause keeps the env
# with the snapshot.
test_a_dump_of_the_database_holds_none() {
    local f
    "$ctl" pause "$box" >/dev/null
    for f in "$NODE_STATE"/sandboxd.db*; do cp "$f" "$work/"; done
    sqlite3 "$work/sandboxd.db" .dump >"$work/dump"
    grep -q "$box" "$work/dump"
    clean database "$work/dump" "$work"/sandboxd.db*
}

test_the_key_and_the_database_are_their_owners_alone() {
    expect "600 600" "$(stat -c %a "$NODE_STATE/sandboxd.db" "$NODE_STATE/node.key" | xargs)"
}

# Disks and memory hold what users wrote: behind directories that others cannot
# enter.
test_what_another_user_can_read_holds_none() {
    setpriv --reuid=65534 --regid=65534 --clear-groups \
        find "$NODE_STATE" -path "$NODE_STATE/images" -prune -o -path "$NODE_STATE/kernel" -prune -o -type f -readable -print \
        >"$work/readable" 2>/dev/null || :
    if grep -E '/(snapshots|guests)/|node.key|sandboxd.db' "$work/readable"; then return 1; fi
    [ -s "$work/readable" ] || return 0
    mapfile -t open <"$work/readable"
    clean "readable files" "${open[@]}"
}

run_tests "$@"
failed=$?
without_hook
exit $failed
