# SPDX-License-Identifier: Apache-2.0
"""test_life.py - what happens to rules, taps and flows as guests come and go

N19, taps, updates, and many of all.
"""
import itertools

from harness import *


def learned(n=0):
    """Addresses that are open to a slot for names of its first group."""
    return list(learned_elements(n))


# ---- N19: reuse ------------------------------------------------------------

def leak(line):
    """What an engine would leave that forgot to empty a slot's sets."""
    if line.split()[2] in ("1", "30"):  # the predecessor
        return False
    nft(f"add element inet sandboxd learned {{ {WHOSE} . 203.0.113.10 timeout 1m }}")
    return True


@test(after(["attach"], leak))
def n19_the_next_guest_of_a_slot_inherits_nothing(rig):
    g = rig.guest(0, 1, "deny +allowed.test")
    assert in_ns(g, lookup, "allowed.test")[1]
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    assert learned() == ["203.0.113.10"]
    rig.drop_guest(0)
    assert "sbx0" not in bound() and not learned()
    for generation in range(2, 22):
        g = rig.guest(0, generation, "deny +allowed.test")
        assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "refused"
        rig.drop_guest(0)


@test(after(["attach"], leak))
def n19_attaching_another_generation_forgets_and_cuts(rig):
    g = rig.guest(0, 30, "deny +allowed.test")
    assert in_ns(g, lookup, "allowed.test")[1]
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    flow = Flow(g, "203.0.113.10", 443)
    rig.guest(0, 31, "deny +allowed.test")
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "refused"
    assert not flow.lives()
    flow.end()


@test(asleep)
def n19_the_predecessors_flows_end_with_it(rig):
    """Same address, same ports: as if the successor had them."""
    g = rig.guest(0, 1, "deny +203.0.113.10")
    flow = Flow(g, "203.0.113.10", 80)
    assert flow.lives()
    rig.net.do("detach 0")
    rig.net.do("attach 0 2 deny")
    assert not flow.lives()
    flow.end()


@test(told("^detach 0$", "attach 0 999 none"))
def n19_a_tap_has_one_guest(rig):
    """The name comes back with its number; the device does not."""
    seen = set()
    for generation in range(10):
        rig.net.do(f"attach 0 {generation} allow")
        index = next(i for i, n in taps().items() if n == "sbx0")
        assert index not in seen
        seen.add(index)
        rig.net.do("detach 0")


# ---- taps and rules, ahead and behind --------------------------------------

def ready():
    return len(taps()) - len(bound())


@test()
def taps_stand_ready_and_go_when_their_guests_are_gone(rig):
    rig.net.do("settle")
    # Those of the tests before go when they are done with.
    assert wait_for(lambda: len(taps()) == 16), taps()
    before = taps()
    for n in range(12):
        rig.net.do(f"attach {n} 1 allow")
    assert all(before[i] == taps().get(i) for i in before), "made twice"
    rig.net.do("settle")
    assert len(taps()) == 12 + 16, taps()
    for n in range(12):
        rig.net.do(f"detach {n}")
    assert wait_for(lambda: len(taps()) == 16, 10), taps()
    assert not any(f"sbx{n}" in taps().values() for n in range(12))


def starts(rig):
    try:
        rig.net.start(sweep=False)
        return True
    except RuntimeError:  # those of the one before still listen
        return False


@test()
def a_number_given_back_while_its_tap_is_made_gets_another(rig):
    """At a start: a create that was cut off is undone meanwhile."""
    for n in range(5):
        rig.net.kill()
        assert wait_for(lambda: starts(rig))
        rig.net.do("sweep")
        rig.net.do(f"detach {n}")
        rig.net.do(f"attach {n} 1 allow")
        rig.net.do("settle")
        assert f"sbx{n}" in taps().values(), taps()
        assert strays(rig, n) == [], strays(rig, n)
        rig.net.do(f"detach {n}")


@test()
def what_stood_ready_when_the_engine_died_is_not_used(rig):
    rig.net.do("attach 0 1 allow")
    rig.net.do("settle")
    old = set(taps())
    rig.net.kill()
    rig.net.start(sweep=False)
    rig.net.do("attach 0 1 allow")
    rig.net.do("sweep")
    rig.net.do("settle")
    assert wait_for(lambda: len(taps()) == 17, 10), taps()
    assert len(old & set(taps())) == 1, "only the guest's own"


def shared_by_all(_line):
    """As if a shape's addresses were not each slot's own."""
    nft("flush set inet sandboxd ranges\n"
        "add element inet sandboxd ranges { "
        "0x53420000 . 0x2000 . 203.0.113.10 . tcp . 0, "
        "0x53420005 . 0x2000 . 203.0.113.10 . tcp . 0 }")
    return True


@test(after(["attach"], shared_by_all))
def guests_share_rules_of_one_shape_and_not_what_they_open(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10")
    other = rig.guest(5, 1, "deny +203.0.113.11")
    assert of_slot("p0")[1:] == of_slot("p5")[1:]
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    assert in_ns(g, tcp, "203.0.113.11", 80)[0] == "refused"
    assert in_ns(other, tcp, "203.0.113.11", 80)[0] == "open"
    assert in_ns(other, tcp, "203.0.113.10", 80)[0] == "refused"
    rig.net.do("update 5 1 deny +203.0.113.10")
    assert in_ns(other, tcp, "203.0.113.10", 80)[0] == "open"
    assert in_ns(other, tcp, "203.0.113.11", 80)[0] == "refused"
    rig.net.do("detach 5")
    assert in_ns(other, tcp, "203.0.113.10", 80, 0.5)[0] != "open"
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"


def chains():
    """Of shapes: how many."""
    return len(re.findall(r"chain p\d+ ", sh("nft", "list", "ruleset")))


@test()
def rules_that_no_guest_needs_are_taken_away_behind(rig):
    before = chains()
    for port in range(1000, 1100):
        rig.net.do(f"attach 0 1 deny +allowed.test,{port}")
    assert wait_for(lambda: chains() <= 33, 10), (before, chains())
    g = rig.guest(0, 1, "deny +203.0.113.10,80")
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "refused"


@test(told(r" -203\S+", ""))
def policies_of_all_shapes_follow_each_other_in_a_slot(rig):
    shapes = ["deny", "allow", "deny +203.0.113.10", "allow -203.0.113.10",
              "deny +allowed.test", "deny +203.0.113.10,tcp,443",
              "allow +allowed.test -203.0.113.10", "none",
              "deny +203.0.113.10 -203.0.113.10,tcp,80"]
    want = {"deny": "refused", "allow": "open", "deny +203.0.113.10": "open",
            "allow -203.0.113.10": "refused", "deny +allowed.test": "refused",
            "deny +203.0.113.10,tcp,443": "refused",
            "allow +allowed.test -203.0.113.10": "refused", "none": "timeout",
            "deny +203.0.113.10 -203.0.113.10,tcp,80": "refused"}
    g = rig.guest(0, 1, "deny")
    generation = 1
    for one, two in itertools.permutations(shapes, 2):
        for policy in (one, two):
            generation += 1
            how = "update" if generation % 3 else "attach"
            rig.net.do(f"{how} 0 {generation} {policy}")
            got = in_ns(g, tcp, "203.0.113.10", 80, 0.3)[0]
            assert got == want[policy], (one, two, how, got)


# ---- updates ---------------------------------------------------------------

@test(asleep)
def an_update_cuts_what_it_no_longer_allows_and_nothing_else(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10 +203.0.113.11 +allowed.test")
    kept = Flow(g, "203.0.113.10", 80)

    def update():
        rig.net.do("update 0 1 deny +203.0.113.10 +203.0.113.11 +allowed.test")
        cut = Flow(g, "203.0.113.11", 80)
        assert kept.lives() and cut.lives()
        start = time.monotonic()
        rig.net.do("update 0 1 deny +203.0.113.10")
        done = time.monotonic() - start
        assert not cut.lives()
        cut.end()
        return done
    assert best_of(3, 1.0, update) < 1.0
    assert kept.lives()
    kept.end()


@test(asleep)
def an_update_keeps_what_names_still_allow(rig):
    g = rig.guest(0, 1, "deny +allowed.test +other.test")
    assert in_ns(g, lookup, "allowed.test")[1]
    assert in_ns(g, lookup, "other.test")[1]
    kept, cut = Flow(g, "203.0.113.10", 80), Flow(g, "203.0.113.11", 443)
    rig.net.do("update 0 1 deny +allowed.test,tcp,80,443")
    assert kept.lives() and not cut.lives()
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
    assert in_ns(g, tcp, "203.0.113.11", 443)[0] == "refused"
    kept.end()
    cut.end()


@test(asleep)
def a_revoked_flow_of_datagrams_stops(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10,udp,9999")
    assert in_ns(g, udp, "203.0.113.10", 9999) == "open"
    rig.net.do("update 0 1 deny")
    assert in_ns(g, udp, "203.0.113.10", 9999) != "open"


@test(told(" none", " allow"))
def without_a_policy_nothing_passes(rig):
    g = rig.guest(0, 1, "none")
    # Long enough for a first packet that was lost to be sent again.
    assert in_ns(g, tcp, "203.0.113.10", 80, 2.5)[0] == "timeout"
    assert in_ns(g, lookup, "allowed.test", 1, GATEWAY, 0.5) is None


@test(accept_first("p0"))
def deny_wins_over_allow(rig):
    g = rig.guest(0, 1, "allow +203.0.113.0/24 -203.0.113.11 -203.0.113.10,tcp,22"
                        " -other.test")
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    assert in_ns(g, tcp, "203.0.113.10", 22)[0] == "refused"
    assert in_ns(g, tcp, "203.0.113.11", 80)[0] == "refused"
    assert in_ns(g, lookup, "other.test")[0] == 5
    assert in_ns(g, lookup, "allowed.test")[1]


def no_log(rig):
    careless(rig)
    for chain in ("deny-rule", "deny-metadata", "deny-private", "deny-host"):
        delete_rules(chain, "log prefix")


@test(engine(no_log, times=CARELESS))
def refusals_are_listed_with_their_rule(rig):
    g = rig.guest(0, 77, "allow -203.0.113.11")
    in_ns(g, tcp, "203.0.113.11", 80)
    in_ns(g, tcp, "169.254.169.254", 80)
    in_ns(g, tcp, "10.1.1.1", 80)
    in_ns(g, tcp, GATEWAY, 22)
    want = ["203.0.113.11/80/tcp/deny:203.0.113.11/1",
            "169.254.169.254/80/tcp/hard:metadata/1",
            "10.1.1.1/80/tcp/hard:private/1",
            f"{GATEWAY}/22/tcp/hard:host/1"]
    got = wait_for(lambda: (lambda d: d if all(w in d for w in want) else None)(
        rig.net.do("denials 0")), 3)
    assert got, rig.net.do("denials 0")
    c = rig.net.do("counters 0")
    assert int(re.search(r"denied (\d+)", c)[1]) >= 4, c


@test(told("deny", "allow"))
def a_blocked_connection_fails_at_once_and_plainly(rig):
    g = rig.guest(0, 1, "deny +allowed.test")
    late = []
    for ip in ("203.0.113.11", "169.254.169.254", "10.1.1.1", "198.51.100.2"):
        def refused(to=ip):
            what, seconds = in_ns(g, tcp, to, 443)
            assert what == "refused", (to, what)
            return seconds
        late.append(best_of(5, 0.1, refused))
    assert max(late) < 0.1, late
    assert in_ns(g, lookup, "other.test")[0] == 5
    print(f"     refused within {max(late) * 1000:.1f} ms")


# ---- the whole -------------------------------------------------------------

@test()
def the_rules_are_those_of_the_golden_file(rig):
    """GOLDEN=write makes it anew: then read the difference."""
    rig.fresh(sweep=False)
    rig.net.do("attach 1 1 none")
    rig.net.do("attach 2 1 allow")
    rig.net.do("limits 100 8 1000")
    rig.net.do("attach 3 1 allow +*.a.example,any,443,8000-8010 +b.example"
               " +203.0.113.0/24,tcp,22 +203.0.113.9 -203.0.113.128/25"
               " -192.0.2.1,udp,1-99 +c.example,any,79-81,443,verify")
    rig.net.do("limits 0 0 0")
    rig.net.do("attach 4 1 deny +b.example,verify +203.0.113.9")
    got = re.sub(r"packets \d+ bytes \d+", "packets N bytes N",
                 sh("nft", "list", "ruleset"))
    # Elements of hash sets come in any order.
    sets = re.compile(r"elements = \{(.*?)\}\n", re.S)
    got = sets.sub(lambda m: "elements = {\n" + "".join(
        f"\t\t\t{e.strip()}\n" for e in sorted(m[1].split(",\n"))) + "}\n", got)
    path = os.path.join(HERE, "golden.txt")
    rig.fresh()
    if os.environ.get("GOLDEN") == "write":
        with open(path, "w", encoding="ascii") as f:
            f.write(got)
    with open(path, encoding="ascii") as f:
        want = f.read()
    if got != want:
        import difflib
        print("\n".join(difflib.unified_diff(want.split("\n"), got.split("\n"),
                                             lineterm="")))
    assert got == want


@test(seconds=300)
def one_guest_more_costs_the_same_with_a_thousand(rig):
    """5000 of them: SLOTS=5000."""
    many = int(os.environ.get("SLOTS", "1000"))
    costs = {}
    for count in (1, many):
        rig.fresh(slots=8000)
        words = rig.net.do(f"bench {count} 20").split()
        costs[count] = {words[i]: int(words[i + 1])
                        for i in range(2, len(words), 2)}
        print(f"     {count} guests: {costs[count]}")
    rig.fresh()
    # A check of chains for each guest would be some 1.3 us: see netpol_base.c.
    for what, us in costs[many].items():
        assert us < 10 * costs[1][what] + 2000, what


@test(seconds=300)
def a_restart_with_hundreds_of_guests_shares_transactions(rig):
    rig.fresh(slots=1000)
    for n in range(300):
        rig.net.do(f"attach {n} 1 deny +*.example.com +203.0.113.0/24")
    rig.net.kill()
    rig.net.start(sweep=False)
    rig.net.do("gather")
    start = time.monotonic()
    for n in range(300):
        rig.net.do(f"attach {n} 1 deny +*.example.com +203.0.113.0/24")
    rig.net.do("sweep")
    print(f"     300 guests taken up in {time.monotonic() - start:.2f} s")
    assert len(bound()) == 300
    g = rig.guest(7, 1, "deny +203.0.113.0/24")
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] == "open"
    time.sleep(0.6)
    assert len(bound()) == 300, "the check thinks that something is missing"
    rig.fresh()
