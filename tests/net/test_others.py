# SPDX-License-Identifier: Apache-2.0
"""test_others.py - other programs that change what is in the kernel"""
import itertools

from harness import *


# ---- other programs --------------------------------------------------------

@test(engine(careless, times=CARELESS))
def rules_that_another_program_took_away_come_back(rig):
    g = rig.guest(0, 6, "deny +203.0.113.10")
    rig.guest(1, 6, "allow")
    flow = Flow(g, "203.0.113.10", 80)

    # The guests' own packets, and the splice's for them.
    walls = sh("nft", "list", "ruleset").count(
        "fib daddr type local goto deny-host")

    policy, shape = of_slot("p0"), int(of_slot("p0")[1:])

    def whole():
        text = sh("nft", "list", "ruleset")
        return text.count("fib daddr type local goto deny-host") == walls and \
            all(w in text for w in (
            f"chain {policy} ", f'"sbx0" : 0x{shape:08x}',
            f"0x{shape:08x} : goto {policy}", "iifname . @ll,48,48", '"sbx0" : 0x53420000',
            "10.0.0.0-10.8.255.255 : goto deny-private",
            "arp daddr ip != 169.254.1.1", "goto deny-guests\n")) and \
            bound() == ["sbx0", "sbx1"]
    assert whole()

    harms = [lambda line=line: nft(line) for line in (
        "flush ruleset", "delete table inet sandboxd",
        "delete table arp sandboxd", "flush chain inet sandboxd guest",
        "flush map inet sandboxd hard", "flush map inet sandboxd shapes",
        "flush map inet sandboxd policies",
        "flush set inet sandboxd bind")]
    harms += [lambda rule=rule: delete_rules(*rule) for rule in (
        ("guest", "fib daddr type local"), ("guest", "@ll"),
        ("guest", "arp daddr ip", "arp"), ("forward", "deny-guests"))]
    for i, harm in enumerate(harms):
        os.kill(rig.net.p.pid, signal.SIGSTOP)
        try:
            harm()
            assert not whole(), f"what was done to it ({i}) does not show"
        finally:
            os.kill(rig.net.p.pid, signal.SIGCONT)
        assert wait_for(whole, 4, 0.05), sh("nft", "list", "ruleset")
    assert in_ns(g, tcp, "203.0.113.11", 80)[0] == "refused"
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    flow.end()


@test(engine(careless, times=CARELESS))
def what_another_program_does_to_our_table_is_undone_at_once(rig):
    """Also what no count would show; and long before the next check."""
    if not rig.keep_options:
        rig.fresh(times="0,0,0,0,3600000,50", sweep=False)

    def rules():
        # Elements come in any order.
        return sorted(re.sub(r"packets \d+ bytes \d+", "",
                             sh("nft", "list", "ruleset")))
    try:
        g = rig.guest(0, 1, "deny +203.0.113.10")
        rig.net.do("settle")
        # Once: it may mend twice for one change, and what is seen half way
        # through is never seen again.
        before = rules()
        late = []
        for script in ("flush ruleset", "delete table inet sandboxd",
                       "insert rule inet sandboxd forward accept",
                       "add element inet sandboxd permitted { 10.1.1.1 }",
                       "delete table arp sandboxd"):
            start = time.monotonic()
            nft(script)
            assert wait_for(lambda: rules() == before, 3, 0.005), script
            late.append(time.monotonic() - start)
            time.sleep(0.1)
        print(f"     undone within {max(late) * 1000:.0f} ms")
        assert in_ns(g, tcp, "203.0.113.11", 80)[0] == "refused"
        assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    finally:
        if not rig.keep_options:
            rig.fresh()


OTHERS = """
table inet theirs {
    set s {
        type ipv4_addr
        elements = { 192.0.2.1 }
    }
    chain c {
        type filter hook forward priority 5
        counter
    }
    chain sbx {
        iifname "sbx0" counter
    }
}
table ip sandboxd-but-not-ours {
    chain s0 {
        type filter hook input priority 7
        tcp dport 1 drop
    }
}
table arp theirs {
    chain c {
        type filter hook input priority 5
    }
}
table netdev theirs {
    chain c {
        type filter hook ingress device up0 priority 5
    }
}
"""


def others():
    text = "".join(sh("nft", "-a", "list", "table", *t.split()) for t in
                   ("inet theirs", "ip sandboxd-but-not-ours", "arp theirs",
                    "netdev theirs"))
    return re.sub(r"packets \d+ bytes \d+", "", text)


def spoil_others(_line):
    nft("add element inet theirs s { 192.0.2.2 }")


@test(after(["update"], spoil_others))
def tables_of_others_are_left_alone(rig):
    nft(OTHERS)
    try:
        before = others()
        g = rig.guest(0, 8, "deny +203.0.113.10")
        rig.net.do("update 0 8 allow")
        assert in_ns(g, tcp, "203.0.113.11", 80)[0] == "open"
        # Made anew, taken over after a death, and taken away.
        nft("delete table inet sandboxd")
        assert wait_for(lambda: "sbx0" in sh("nft", "list", "ruleset"), 3)
        rig.net.kill()
        rig.net.start()
        assert others() == before
        rig.net.close("remove")
        assert others() == before
        rig.net.start()
    finally:
        for t in ("inet theirs", "ip sandboxd-but-not-ours", "arp theirs",
                  "netdev theirs"):
            sh("nft", "delete", "table", *t.split(), ok=False)


def meddle():
    """Another program that changes its own rules all the time."""
    for n in itertools.count():
        nft(f"add table inet meddler\nadd chain inet meddler c{n % 7}\n"
            f"delete table inet meddler\n")


@test()
def changes_by_another_program_in_between_are_no_error(rig):
    with Background(None, meddle), Background(None, meddle):
        g = rig.guest(0, 1, "deny +203.0.113.10")
        for n in range(150):
            rig.net.do(f"update 0 1 deny +203.0.113.{10 + n % 2} +a{n}.test"
                       f"{',udp' if n % 3 else ''}")
            rig.net.do(f"attach {1 + n % 5} {n} allow")
        rig.net.do("update 0 1 deny +203.0.113.10")
        assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
        assert in_ns(g, tcp, "203.0.113.11", 80)[0] == "refused"
    sh("nft", "delete", "table", "inet", "meddler", ok=False)


@test()
def flows_that_another_program_marked_are_not_cut(rig):
    nft("table inet marks {\nchain c {\n"
        "type filter hook output priority 0\n"
        "ip daddr 203.0.113.11 ct mark set 1\n}\n}\n")
    try:
        s = socket.create_connection(("203.0.113.11", 80), 3)
        s.settimeout(1)
        g = rig.guest(0, 1, "deny +203.0.113.10")
        assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
        before = rig.net.do("counters 0")
        rig.net.do("update 0 1 deny")
        rig.drop_guest(0)
        rig.net.do("settle")
        s.sendall(b"still")
        assert s.recv(10) == b"still"
        assert "flows 0" in before or "flows 1" in before, before
        with open("/proc/sys/net/netfilter/nf_conntrack_count",
                  encoding="ascii") as f:
            assert int(f.read()) >= 1, "its flow was forgotten"
        s.close()
    finally:
        nft("delete table inet marks")
