# SPDX-License-Identifier: Apache-2.0
"""test_crash.py - processes that die, and what is left that nobody owns"""
from harness import *


# ---- processes die ---------------------------------------------------------

@test(kernel(dumb_dns))
def a_killed_resolver_comes_back_and_flows_live_on(rig):
    g = rig.guest(0, 1, "deny +allowed.test +zero.test")
    assert in_ns(g, lookup, "allowed.test")[1]
    flow = Flow(g, "203.0.113.10", 80)
    pid = rig.net.resolver_pids()[0]
    os.kill(pid, signal.SIGKILL)
    assert flow.lives()
    assert wait_for(lambda: resolves(g, "allowed.test"))
    assert rig.net.resolver_pids()[0] != pid
    assert flow.lives()
    flow.end()


@test(kernel(dumb_dns))
def names_fail_closed_while_there_is_no_resolver(rig):
    g = rig.guest(0, 1, "deny +*.test")
    assert wait_for(lambda: resolves(g, "other.test"))
    for pid in rig.net.resolver_pids():
        os.kill(pid, signal.SIGSTOP)
    try:
        assert in_ns(g, lookup, "allowed.test", 1, GATEWAY, 0.5) is None
        assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "refused"
    finally:
        for pid in rig.net.resolver_pids():
            os.kill(pid, signal.SIGCONT)


def forget_guests(_line):
    nft("flush set inet sandboxd bind")
    return True


@test()
def a_second_node_in_a_namespace_is_refused_and_harms_nothing(rig):
    g = rig.guest(0, 5, "deny +203.0.113.10")
    before = sh("nft", "-s", "list", "ruleset")
    second = subprocess.run(rig.net.args, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True)
    assert second.returncode == 1
    assert "another sandboxd" in second.stdout, second.stdout
    assert sh("nft", "-s", "list", "ruleset") == before
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"


@test(after(["sweep"], forget_guests))
def a_killed_engine_leaves_guests_their_network_and_takes_it_up_again(rig):
    g = rig.guest(0, 5, "deny +allowed.test")
    rig.guest(1, 1, "deny +203.0.113.10")
    assert in_ns(g, lookup, "allowed.test")[1]
    flow = Flow(g, "203.0.113.10", 80)
    assert flow.lives()
    rig.net.kill()
    assert flow.lives()
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
    assert in_ns(g, lookup, "allowed.test", 1, GATEWAY, 0.5) is None
    rig.net.start(sweep=False)
    assert flow.lives()
    rig.net.do("attach 0 5 deny +allowed.test")
    rig.net.do("sweep")
    assert flow.lives()
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
    assert wait_for(lambda: resolves(g, "allowed.test"))
    rig.net.do("update 0 5 deny +other.test")
    assert not flow.lives()
    flow.end()
    assert bound() == ["sbx0"], bound()
    rig.net.do("settle")
    assert "LOWER_UP" not in sh("ip", "-o", "link", "show", "sbx1", ok=False)


def lookups_and_connects(stop_at):
    """(asked, answered, refused after an answer)"""
    asked = answered = refused = 0
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    s.connect((GATEWAY, 53))
    while time.monotonic() < stop_at:
        asked += 1
        q = dns_query(f"{asked}.race.test")
        try:
            s.send(q)
            data = s.recv(4096)
        except OSError:
            continue
        if data[:2] != q[:2]:
            continue
        code, found, _ = dns_answer(data)
        if code or not found:
            continue
        answered += 1
        c = socket.socket()
        c.settimeout(3)
        try:
            c.connect((found[0], 80))
        except OSError:
            refused += 1
        c.close()
        time.sleep(0.015)
    return asked, answered, refused


def under_load(rig, seconds, disturb):
    """@disturb(flow) while four guests ask and connect; the sums."""
    names = [rig.guest(i, 1, "deny +*.race.test") for i in range(4)]
    stop_at = time.monotonic() + seconds
    ends = []
    for name in names:
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.alarm(0)
            got = in_ns(name, lookups_and_connects, stop_at)
            os.write(w, json.dumps(got).encode())
            os._exit(0)
        os.close(w)
        ends.append((pid, r))
    address = wait_for(lambda: resolves("g0", "1.race.test"))[0]
    flow = Flow("g0", address, 80)
    disturb(flow)
    assert flow.lives()
    flow.end()
    total = [0, 0, 0]
    for pid, r in ends:
        with os.fdopen(r, "rb") as f:
            got = json.loads(f.read())
        os.waitpid(pid, 0)
        total = [a + b for a, b in zip(total, got)]
    return total


@test()
def a_resolver_killed_again_and_again_under_load_refuses_nobody(rig):
    def disturb(flow):
        for _ in range(5):
            time.sleep(0.5)
            for pid in rig.net.resolver_pids():
                os.kill(pid, signal.SIGKILL)
            assert flow.lives()
    asked, answered, refused = under_load(rig, 4.5, disturb)
    print(f"     {asked} lookups, {answered} answered, {refused} refused")
    assert refused == 0 and answered > asked / 10
    # Its helper is started more and more slowly; but it comes.
    assert wait_for(lambda: resolves("g0", "1.race.test"), 10)


@test()
def an_engine_killed_under_load_refuses_nobody(rig):
    def disturb(flow):
        for _ in range(2):
            time.sleep(0.8)
            rig.net.kill()
            assert flow.lives()
            time.sleep(0.2)
            rig.net.start(sweep=False)
            for i in range(4):
                rig.net.do(f"attach {i} 1 deny +*.race.test")
            rig.net.do("sweep")
    asked, answered, refused = under_load(rig, 4.5, disturb)
    print(f"     {asked} lookups, {answered} answered, {refused} refused")
    assert refused == 0 and answered > asked / 10


# ---- what nobody owns ------------------------------------------------------

def offline(rig, line):
    """The same of a node that does not run."""
    return sorted(sh(rig.net.args[0], *line.split()).split()[1:])


def litter(*numbers):
    """What a node that forgot of a guest would leave."""
    for n in numbers:
        sh("ip", "tuntap", "add", f"sbx{n}", "mode", "tap")
        nft(f'''add element inet sandboxd shapes {{ "sbx{n}" : 0 }}
add element inet sandboxd marks {{ "sbx{n}" : 0x{0x53420000 + n:x} }}
add element inet sandboxd allowed {{ "sbx{n}" }}
add element inet sandboxd upstreams {{ 0x{0x53420000 + n:x} : 0 }}''')


@test()
def what_is_made_ahead_or_taken_is_no_stray(rig):
    rig.guest(0, 1, "deny +203.0.113.10")
    rig.net.do("settle")
    assert strays(rig, 0) == [], strays(rig, 0)
    assert strays(rig) == ["rules0", "tap0"], strays(rig)
    rig.net.do("detach 0")
    assert strays(rig) == [], strays(rig)


@test()
def what_no_guest_owns_is_found_and_taken_away(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10")
    rig.net.do("settle")
    rig.net.do("mend off")
    try:
        litter(300)
        assert strays(rig, 0) == ["rules300", "tap300"], strays(rig, 0)
        for what in "rules", "tap":
            rig.net.do(f"remove {what} 300")
        assert strays(rig, 0) == [], strays(rig, 0)
    finally:
        rig.net.do("mend on")
    assert not any("300" in line for line in sh(
        "nft", "list", "ruleset").splitlines() if "sbx" in line)
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
    # A guest that the node still has, but nobody owns.
    rig.net.do("attach 1 1 allow")
    assert strays(rig, 0) == ["rules1", "tap1"], strays(rig, 0)
    rig.net.do("remove rules 1")
    assert wait_for(lambda: strays(rig, 0) == []), strays(rig, 0)
    assert "sbx1" not in bound()


@test()
def what_a_node_left_that_does_not_run_is_found_and_taken_away(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10")
    rig.net.do("settle")
    # A node that runs keeps everybody else out.
    assert "another" in sh(rig.net.args[0], "strays", "0", ok=False)
    rig.net.kill()
    try:
        litter(301, 302)
        found = offline(rig, "strays 0")
        assert {"rules301", "tap301", "rules302", "tap302"} <= set(found), found
        assert not {"rules0", "tap0"} & set(found), found
        for n in 301, 302:
            sh(rig.net.args[0], "remove", "rules", str(n))
            sh(rig.net.args[0], "remove", "tap", str(n))
        found = offline(rig, "strays 0")
        assert not any("30" in one for one in found), found
        assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
        # In use: never.
        assert subprocess.run([rig.net.args[0], "remove", "tap", "0"],
                              stdout=subprocess.DEVNULL).returncode == 1
        assert "sbx0" in taps().values()
    finally:
        rig.net.start(sweep=False)
        rig.net.do("attach 0 1 deny +203.0.113.10")
        rig.net.do("sweep")
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
