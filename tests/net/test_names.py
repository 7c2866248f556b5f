# SPDX-License-Identifier: Apache-2.0
"""test_names.py - names: what may be asked, what is learned, for how long

N11 to N13, and the promises that lookups keep.
"""
from harness import *


# ---- N11 to N13 ------------------------------------------------------------

@test(without("guest", "@resolvers"))
def n11_other_resolvers_do_not_answer(rig):
    g = rig.guest(0, 1, "allow +0.0.0.0/0")
    assert in_ns(g, lookup, "allowed.test", 1, "8.8.8.8", 0.5) is None
    assert in_ns(g, lookup, "allowed.test", 1, "8.8.8.8", 0.5, True) is None
    assert in_ns(g, tcp, "8.8.8.8", 853)[0] == "refused"
    assert in_ns(g, udp, "8.8.8.8", 853) != "open"


@test(accept_first("p0"))
def n11_dns_over_https_is_as_closed_as_any_address(rig):
    g = rig.guest(0, 1, "deny +allowed.test")
    assert in_ns(g, lookup, "allowed.test")[1]
    for ip in ("8.8.8.8", "203.0.113.53"):
        assert in_ns(g, tcp, ip, 443)[0] == "refused"
    # Browsers that ask for it are told to leave it.
    assert in_ns(g, lookup, "use-application-dns.net")[0] != 0


@test(accept_first("p0"))
def n11_quic_is_closed_unless_a_rule_asks_for_udp(rig):
    g = rig.guest(0, 1, "deny +allowed.test")
    assert in_ns(g, lookup, "allowed.test")[1] == ["203.0.113.10"]
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
    assert in_ns(g, udp, "203.0.113.10", 443) != "open"


@test(without("p0", "udp dport 443"))
def n11_quic_is_open_when_a_rule_asks_for_udp(rig):
    g = rig.guest(0, 1, "deny +allowed.test,any,443")
    assert in_ns(g, lookup, "allowed.test")[1] == ["203.0.113.10"]
    assert in_ns(g, udp, "203.0.113.10", 443) == "open"


DENIED = ("other.test", "x.allowed.test", "tunnel.test", "secret.tunnel.test",
          "allowed.test.evil.example", "a" * 60 + "." + "b" * 60 +
          ".evil.example", "allowed.test\0.evil.example")
# All that IANA has given a number, and the private ones.
TYPES = [*range(1, 110), *range(249, 262), 32768, 32769, 65280, 65534, 65535]


def ask_types(name, types):
    """Those of @types that were answered with anything but a refusal (or
    NXDOMAIN, for a PTR). What is over the guest's rate of questions is not
    answered: ask again."""
    wrong = []
    for t in types:
        answer = None
        for _ in range(20):
            answer = lookup(name, t, GATEWAY, 1.0)
            if answer:
                break
        if not answer or answer[0] not in (1, 3, 4, 5) or \
                answer[1]:
            wrong.append((name, t, answer))
    return wrong


@test(kernel(dumb_dns))
def n12_nothing_of_a_name_that_is_not_allowed_leaves_the_node(rig):
    policy = "deny +allowed.test +*.tunnel.test -secret.tunnel.test"
    names = [rig.guest(i, 1, policy) for i in range(len(DENIED))]
    rig.clear_queries()
    for i, name in enumerate(DENIED):
        wrong = in_ns(names[i], ask_types, name, TYPES[:90])
        assert wrong == [], wrong
    assert rig.queries() == []


@test(kernel(dumb_dns))
def n12_an_allowed_name_is_only_asked_for_its_addresses(rig):
    g = rig.guest(0, 1, "deny +allowed.test")
    rig.clear_queries()
    for qtype in (28, 65, 64):
        assert in_ns(g, lookup, "allowed.test", qtype)[:2] == (0, []), qtype
    other = rig.guest(1, 1, "deny +allowed.test")
    types = [t for t in TYPES if t not in (1, 28, 64, 65)]
    wrong = in_ns(other, ask_types, "allowed.test", types[:90])
    assert wrong == [], wrong
    third = rig.guest(2, 1, "deny +allowed.test")
    assert in_ns(third, ask_types, "allowed.test", types[90:]) == []
    assert rig.queries() == [], rig.queries()
    assert in_ns(g, lookup, "AlLoWeD.TeSt")[1] == ["203.0.113.10"]
    assert rig.queries() in ([], ["allowed.test 1"]), rig.queries()


def flood_of_names(seconds):
    """Distinct names below an allowed one, as fast as it goes."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((GATEWAY, 53))
    end = time.monotonic() + seconds
    n = 0
    while n < 2000 or time.monotonic() < end:
        for _ in range(50):
            n += 1
            try:
                s.send(dns_query(f"{n:x}{'d' * 50}.{'e' * 60}.tunnel.test",
                                 16 if n % 2 else 1))
            except OSError:
                pass
        time.sleep(0.01)
    return n


@test(kernel(dumb_dns))
def n12_a_tunnel_through_an_allowed_zone_is_thin(rig):
    g = rig.guest(0, 1, "deny +*.tunnel.test")
    rig.clear_queries()
    start = time.monotonic()
    n = in_ns(g, flood_of_names, 1.5)
    time.sleep(0.2)
    seconds = time.monotonic() - start
    asked = rig.queries()
    assert all(q.endswith(" 1") for q in asked), asked[:5]
    assert len(asked) <= 100 + 50 * seconds + 5, (len(asked), seconds)


INWARD = ["0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "10.200.0.3",
          "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",
          "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.1.1",
          "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255",
          "192.0.0.1", "192.0.0.192", "192.88.99.1", "192.168.0.1",
          "192.168.255.255", "198.18.0.1", "198.19.255.255", "224.0.0.251",
          "239.255.255.255", "240.0.0.1", "255.255.255.255"]


@test(kernel(dumb_dns))
def n13_answers_that_point_inward_are_stripped(rig):
    g = rig.guest(0, 1, "deny +*.test +mixed.test")
    for name in ("rebind.test", "loop.test", "meta.test", "zeroes.test",
                 "inward.test", *(f"at-{a.replace('.', '-')}.test"
                                  for a in INWARD)):
        code, found, _ = in_ns(g, lookup, name)
        assert found == [], (name, code, found)
    assert in_ns(g, lookup, "mixed.test")[1] == ["203.0.113.10"]
    assert in_ns(g, lookup, "inside.test")[1] == ["10.9.0.5"]
    assert in_ns(g, tcp, "10.9.0.5", 80)[0] == "open"
    for ip in ("10.1.1.1", "169.254.169.254"):
        assert in_ns(g, tcp, ip, 80)[0] == "refused", ip
    learned = sh("nft", "list", "set", "inet", "sandboxd", "learned")
    assert not any(f"{a} " in learned for a in INWARD), learned


@test(flush("map", "hard"))
def n13_an_address_that_was_learned_all_the_same_is_refused(rig):
    """The second wall: as if the resolver had been taken over."""
    g = rig.guest(0, 1, "deny +allowed.test")
    os.kill(rig.net.p.pid, signal.SIGSTOP)  # or it undoes that
    try:
        nft(f"add element inet sandboxd learned {{ {WHOSE} . 10.1.1.1 timeout 1m, "
            f"{WHOSE} . 169.254.169.254 timeout 1m }}")
        for ip in ("10.1.1.1", "169.254.169.254"):
            assert in_ns(g, tcp, ip, 80)[0] == "refused", ip
    finally:
        if not rig.broken:
            os.kill(rig.net.p.pid, signal.SIGCONT)


def host_service(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", port))
    s.listen(10)
    while True:
        s.accept()[0].sendall(b"the host's")


@test(kernel(open_host))
def n13_a_name_for_the_hosts_own_address_opens_nothing(rig):
    g = rig.guest(0, 1, "deny +host.test,tcp,2222")
    with Background(None, host_service, 2222):
        assert wait_for(lambda: in_ns(None, tcp, "198.51.100.2", 2222)[0] ==
                        "open")
        in_ns(g, lookup, "host.test")
        assert in_ns(g, tcp, "198.51.100.2", 2222)[0] == "refused"


# ---- answers ---------------------------------------------------------------

@test(kernel(dumb_dns))
def cnames_lead_to_addresses_and_loops_to_nothing(rig):
    g = rig.guest(0, 1, "deny +alias.test +hop.test +circle.test")
    assert in_ns(g, lookup, "alias.test")[1] == ["203.0.113.11"]
    assert in_ns(g, tcp, "203.0.113.11", 443)[0] == "open"
    assert in_ns(g, lookup, "hop.test")[1] == ["203.0.113.11"]
    assert not in_ns(g, lookup, "circle.test")[1]
    # The alias' target is nothing that may be asked for.
    assert in_ns(g, lookup, "hidden.elsewhere.example")[0] == 5


@test()
def an_answer_too_long_for_udp_comes_by_tcp(rig):
    g = rig.guest(0, 1, "deny +many.test")
    assert len(in_ns(g, lookup, "many.test", 1, GATEWAY, 5.0, True)[1]) == 40


@test(told("deny", "allow"))
def udp_and_tcp_answer_alike(rig):
    g = rig.guest(0, 1, "deny +*.test")
    for over_tcp in (False, True):
        for name, qtype, want in (("allowed.test", 1, (0, ["203.0.113.10"])),
                                  ("allowed.test", 28, (0, [])),
                                  ("allowed.test", 16, (5, [])),
                                  ("nobody.test", 1, (3, [])),
                                  ("example.com", 1, (5, []))):
            got = in_ns(g, lookup, name, qtype, GATEWAY, 5.0, over_tcp)
            assert got and got[:2] == want, (over_tcp, name, qtype, got)


def pipelined(names):
    s = socket.create_connection((GATEWAY, 53), 5)
    for n in names:
        q = dns_query(n)
        s.sendall(struct.pack("!H", len(q)) + q)
    data, count = b"", 0
    while count < len(names):
        got = s.recv(65536)
        if not got:
            break
        data += got
        while len(data) >= 2 and len(data) >= 2 + data[0] * 256 + data[1]:
            data = data[2 + data[0] * 256 + data[1]:]
            count += 1
    return count


@test()
def questions_may_follow_each_other_on_one_connection(rig):
    g = rig.guest(0, 1, "deny +*.test")
    assert in_ns(g, pipelined, ["allowed.test", "other.test", "nobody.test",
                                "example.com", "allowed.test"]) == 5


@test()
def an_address_family_that_is_not_there_costs_no_time(rig):
    g = rig.guest(0, 1, "deny +*.test")
    assert in_ns(g, lookup, "allowed.test", 28)[:2] == (0, [])
    start = time.monotonic()
    for _ in range(20):
        assert in_ns(g, lookup, "allowed.test", 28)[:2] == (0, [])
    print(f"     no AAAA in {(time.monotonic() - start) * 50:.1f} ms each "
          "(and a process)")


# ---- how long --------------------------------------------------------------

@test(told(r"\+one.test", "+one.test,9999"))
def ttls_of_nothing_and_of_years_work(rig):
    g = rig.guest(0, 1, "deny +zero.test +one.test +day.test +huge.test")
    for name, ip in (("zero.test", "203.0.113.10"), ("one.test", "203.0.113.11"),
                     ("day.test", "203.0.113.10"),
                     ("huge.test", "203.0.113.10")):
        code, found, ttl = in_ns(g, lookup, name)
        assert found == [ip] and ttl <= 60, (name, code, ttl)
        assert in_ns(g, tcp, ip, 80)[0] == "open"


def timeouts():
    def seconds(t):
        return sum(int(n) * {"d": 86400, "h": 3600, "m": 60, "s": 1}[u]
                   for n, u in re.findall(r"(\d+)([dhms])(?!s)", t))
    return {ip: seconds(t) for ip, t in learned_elements(0).items()}


@test()
def an_address_is_open_for_its_ttl_within_bounds_and_a_grace(rig):
    rig.fresh()  # nothing in the cache, whose TTLs run
    g = rig.guest(0, 1, "deny +one.test +day.test")
    in_ns(g, lookup, "one.test")
    in_ns(g, lookup, "day.test")
    got = timeouts()
    assert got == {"203.0.113.11": 360, "203.0.113.10": 3900}, got


SHORT = "1500,3000,1500,300,400,50"  # open for 3 s, renewed every 0.3 s


@test(engine(times=SHORT.replace(",300,", ",3600000,")))
def an_address_in_use_stays_open_and_others_close(rig):
    if not rig.keep_options:
        rig.fresh(times=SHORT)
    # The kernel remembers flows that have ended for minutes.
    for state in ("close", "time_wait", "fin_wait", "last_ack", "close_wait"):
        with open(f"/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}",
                  "w", encoding="ascii") as f:
            f.write("1")
    try:
        g = rig.guest(0, 1, "deny +zero.test +one.test")
        assert resolves(g, "zero.test") and resolves(g, "one.test")
        flow = Flow(g, "203.0.113.10", 80)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert flow.lives()
            time.sleep(0.2)
        # Beside it a second connection; the other address had none.
        assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
        assert in_ns(g, tcp, "203.0.113.11", 443)[0] == "refused"
        flow.end()
        assert wait_for(lambda: not timeouts(), 10, 0.3), "it never closes"
        assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "refused"
    finally:
        if not rig.keep_options:
            rig.fresh()


@test()
def an_answer_again_starts_the_time_anew(rig):
    rig.fresh(times="2000,2000,1000,3600000,400,50")
    try:
        g = rig.guest(0, 1, "deny +zero.test")
        for _ in range(4):
            assert resolves(g, "zero.test")
            time.sleep(1.5)
            assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    finally:
        rig.fresh()


# ---- races -----------------------------------------------------------------

def race(count):
    bad = []
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((GATEWAY, 53))
    began = time.monotonic()
    for i in range(count):
        # The resolver's own limit is 50 questions a second and 100 at once.
        while i > 90 + 45 * (time.monotonic() - began):
            time.sleep(0.002)
        s.send(dns_query(f"{i}.race.test"))
        code, found, _ = dns_answer(s.recv(4096))
        c = socket.socket()
        c.settimeout(3)
        try:
            c.connect((found[0], 80))
        except (OSError, IndexError) as e:
            bad.append((i, code, found, repr(e)))
        c.close()
    return bad


RACERS = 16
RACES = int(os.environ.get("RACES", "2000"))


def run_races(rig, names, count):
    pids = []
    for name in names:
        pid = os.fork()
        if pid == 0:
            signal.alarm(0)
            try:
                bad = in_ns(name, race, count)
            except RuntimeError as e:
                bad = [str(e)]
            if bad:
                print("    ", name, len(bad), bad[:3], flush=True)
            os._exit(1 if bad else 0)
        pids.append(pid)
    return [os.waitpid(p, 0)[1] for p in pids]


@test(asleep, seconds=120 + RACES // 20)
def a_connect_right_after_its_answer_is_never_refused(rig):
    names = [rig.guest(i, 1, "deny +*.race.test") for i in range(RACERS)]
    count = RACES // RACERS
    if rig.net.do("counters 0") == "":
        count = 2  # the engine stands still
    assert run_races(rig, names, count) == [0] * RACERS
