# SPDX-License-Identifier: Apache-2.0
"""bench_network.py - rules, learned addresses, DNS, traffic

The network's own code runs as the daemon runs it (tests/net/net_driver,
tests/bench/bench_rules). Guests are namespaces: in the tap's place is a veth of
the same name, index and addresses, so that what is measured is the path of
packets through the rules, not an emulator; what a real guest sees of it is
measured by bench_egress.py. The peers have a namespace of their own as their
host, beside ours, on the same "internet".

BENCH_NETWORK=rules,guest,dns,traffic: only these of its parts.
"""
import json
import os
import re
import subprocess
import time

import bench_egress
import bench_lib as lib
from bench_lib import BUILD, LIBC, Failed, number, program, spread, wait_for

COUNTS = [1, 100, 1000, 5000]
# The kernel looks at all chains when one is added: of 5,000 with chains of their
# own the last would take a fifth of a second, and all some minutes.
OWN_COUNTS = [1, 100, 1000]
SERVER, NAMED, DNS = "203.0.113.10", "203.0.113.49", "203.0.113.53"
PORT = 9000
POOL = "10.100.0.0"
GATEWAY = "169.254.1.1"
# The resolver's limit is 50 questions a second for each guest, 100 at once: for
# a rate many guests ask at a time, each fewer than that.
GUESTS = 40
QUESTIONS = 90
BRIDGE, BRIDGED = "10.97.0.1", "10.97.0.2"
GUEST_MAC, GATEWAY_MAC = "52:54:00:53:42:01", "02:53:42:00:00:01"

# What the rules of our guest are, and where it connects to. One more way is one
# more line.
POLICIES = [
    ("sandboxd, no policy", "allow", [], SERVER, PORT),
    ("sandboxd, policy by address", "deny",
     ["+192.0.2.0/24", "+203.0.113.0/28", "+*.other.example"], SERVER, PORT),
    ("sandboxd, policy by name", "deny",
     ["+192.0.2.0/24", f"+*.bench.example,{PORT}", "+*.other.example"], NAMED,
     PORT),
    ("sandboxd, name bound on the wire", "deny",
     ["+192.0.2.0/24", "+*.bench.example,443,verify", "+*.other.example"],
     NAMED, 443),
]

NO_RULES = "plain bridge, no rules at all"
BRIDGE_RULES = "plain bridge, nft rules"

# What a careful person would write for a bridge of guests.
PLAIN_RULES = """
table inet plain {
  set learned { type ipv4_addr; flags timeout; }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "br0" ip saddr 10.97.0.0/24 ip daddr { 192.0.2.0/24, 203.0.113.0/28 } accept
    iifname "br0" ip daddr @learned accept
    iifname "br0" ip daddr 203.0.113.53 udp dport 53 accept
  }
  chain nat { type nat hook postrouting priority 100; oifname "up1" masquerade; }
}
table inet dns {
  set learned { type ipv4_addr; flags timeout; }
}
"""


def ip(*words, ns=None):
    argv = ["ip"] + (["-n", ns] if ns else []) + " ".join(words).split()
    return lib.run(*argv).stdout


def inside(ns):
    """For subprocess: in that namespace."""
    def enter():
        fd = os.open(f"/run/netns/{ns}", os.O_RDONLY)
        if LIBC.setns(fd, 0x40000000) < 0:
            raise OSError("setns")
    return enter


def in_ns(ns, *argv):
    return lib.run(*argv, preexec_fn=inside(ns)).stdout


def background(bench, ns, *argv):
    p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL,
                         preexec_fn=inside(ns) if ns else None)

    def end():
        p.terminate()
        p.wait()
    bench.closers.append(end)
    return p


def ask(ns, *argv):
    return json.loads(in_ns(ns, program("bench_net"), *argv))


def namespaces(bench):
    """inet, the peers' host "plain", and a guest behind each host."""
    for ns in ("inet", "plain", "plain-guest"):
        ip("netns add", ns)
        ip("link set lo up", ns=ns)
    ip("link add up0 type veth peer name eth0 netns inet")
    ip("link add up1 netns plain type veth peer name eth1 netns inet")
    for ns, name, address in ((None, "up0", "198.51.100.2/24"),
                              ("inet", "eth0", "198.51.100.1/24"),
                              ("plain", "up1", "198.51.101.2/24"),
                              ("inet", "eth1", "198.51.101.1/24")):
        ip(f"addr add {address} dev {name}", ns=ns)
        ip(f"link set {name} up", ns=ns)
    ip("route add default via 198.51.100.1")
    ip("route add default via 198.51.101.1", ns="plain")
    ip("route add local 203.0.113.0/24 dev lo", ns="inet")
    ip("route add 10.97.0.0/24 via 198.51.101.2", ns="inet")
    bridge()
    background(bench, "inet", program("bench_net"), "serve", PORT, 443)
    background(bench, "inet", program("bench_net"), "dns-serve", DNS)


def bridge():
    ip("link add br0 type bridge", ns="plain")
    ip("link add veth0 netns plain type veth peer name eth0 netns plain-guest")
    ip("link set veth0 master br0", ns="plain")
    for name in ("br0", "veth0"):
        ip(f"link set {name} up", ns="plain")
    ip(f"addr add {BRIDGE}/24 dev br0", ns="plain")
    ip(f"addr add {BRIDGED}/24 dev eth0", ns="plain-guest")
    ip("link set eth0 up", ns="plain-guest")
    ip(f"route add default via {BRIDGE}", ns="plain-guest")
    in_ns("plain", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")


class Driver:
    """The daemon's network, told line by line."""

    def __init__(self, bench):
        self.p = subprocess.Popen(
            [os.path.join(BUILD, "tests/net/net_driver"),
             os.path.join(BUILD, "sandboxd-resolver"), "64", POOL, "16",
             f"dns={DNS}", f"splice={BUILD}/sandboxd-splice"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        bench.closers.append(self.close)
        if self.p.stdout.readline() != "ok\n":
            raise Failed("the network cannot be set up")
        self.say("sweep")
        self.attached = set()

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        answer = self.p.stdout.readline()
        if not answer.startswith("ok"):
            raise Failed(f"{line}: {answer}")

    def policy(self, default, rules, slot=0):
        how = "update" if slot in self.attached else "attach"
        self.say(f"{how} {slot} 1 {default} {' '.join(rules)}")
        if slot not in self.attached:
            self.swap_tap(slot)
        self.attached.add(slot)

    def swap_tap(self, slot):
        """A veth for the tap, as the rest of the host knows it."""
        address, ns = f"10.100.0.{slot + 2}", f"guest{slot}"
        tap = re.search(rf"^{address} dev (\S+)", ip("route"), re.M).group(1)
        index = ip("-o link show", tap).split(":")[0]
        ip("netns add", ns)
        ip(f"link del {tap}")
        ip(f"link add {tap} index {index} address {GATEWAY_MAC} type veth "
           f"peer name eth0 netns {ns} address {GUEST_MAC}")
        with open(f"/proc/sys/net/ipv4/conf/{tap}/forwarding", "w") as f:
            f.write("1")
        ip(f"addr add {GATEWAY}/32 dev {tap} scope link")
        ip(f"link set {tap} up")
        ip(f"neigh add {address} lladdr {GUEST_MAC} dev {tap}")
        ip(f"route add {address}/32 dev {tap}")
        ip(f"addr add {address}/32 dev eth0", ns=ns)
        ip("link set eth0 up", ns=ns)
        ip(f"neigh add {GATEWAY} lladdr {GATEWAY_MAC} dev eth0", ns=ns)
        ip(f"route add {GATEWAY}/32 dev eth0", ns=ns)
        ip(f"route add default via {GATEWAY} dev eth0", ns=ns)

    def close(self):
        self.say("close remove")
        self.p.stdin.close()
        self.p.wait()
        for tap in re.findall(r"sbx\d+", ip("-o link")):
            ip("link del", tap)


# ---- rules ----

def bench_rules(bench):
    rules_beside(bench, "shared", COUNTS, "")
    rules_beside(bench, "own", OWN_COUNTS, ", each with a shape of its own")


def rules_beside(bench, shapes, counts, how):
    rounds = max(5, bench.count)
    lib.say(f"rules at {', '.join(map(str, counts))} sandboxes{how}")
    ip("netns add rules")
    ip("link set lo up", ns="rules")
    out = in_ns("rules", program("bench_rules"), BUILD, shapes, rounds, *counts)
    ip("netns del rules")
    rows = [json.loads(line) for line in out.splitlines()]
    for key, name, clock in (
            ("attach", "adding a sandbox", "tap, address, route, rules"),
            ("update", "changing its policy", "rules, cutting flows"),
            ("detach", "removing a sandbox", "until nothing passes"),
            ("learn", "a learned address", "in the kernel's set")):
        print(f"\n{name}{how}   (clock: the engine's thread, {clock})")
        for row in rows:
            us = row[key + "_us"]
            bench.line(f"beside {row['count']} sandboxes", spread(us), "us")
            bench.results.append({"part": "network", "name": name + how,
                                  "beside": row["count"], "unit": "us",
                                  "ours": spread(us), "samples": us})


# ---- DNS ----

def start_dnsmasq(bench):
    background(bench, "plain", "dnsmasq", "--keep-in-foreground", "--no-hosts",
               "--no-resolv", "--conf-file=/dev/null", "--pid-file=",
               f"--listen-address={BRIDGE}", "--bind-interfaces",
               "--user=root", f"--server={DNS}", "--dns-forward-max=1000",
               "--nftset=/bench.example/4#inet#dns#learned")
    wait_for("dnsmasq", lambda: ask("plain-guest", "dns", BRIDGE, "r", 1,
                                    1, 0)["refused"] == 0, 10, 0.1)


def many(ways, prefix):
    """All guests ask at once: answers a second, and how many had none."""
    start = time.monotonic() * 1e6 + 300e3
    asking = [subprocess.Popen(
        [program("bench_net"), "dns", server, f"{prefix}g{i}-", str(QUESTIONS),
         "4", "0", str(start)], stdout=subprocess.PIPE, text=True,
        preexec_fn=inside(ns)) for i, (ns, server) in enumerate(ways)]
    outs = [json.loads(p.communicate()[0]) for p in asking]
    answers = sum(len(o["answers"]["us"]) for o in outs)
    wall = max(o["end_us"] for o in outs) - min(o["begin_us"] for o in outs)
    return answers / wall * 1e6, sum(o["lost"] + o["refused"] for o in outs)


def bench_dns(bench, driver):
    start_dnsmasq(bench)
    for i in range(GUESTS):
        driver.policy(*POLICIES[2][1:3], slot=i)
    names = ["sandboxd-resolver", "dnsmasq --nftset",
             "the upstream itself, no forwarder"]
    ways = [[(f"guest{i}", GATEWAY) for i in range(GUESTS)],
            [("plain-guest", BRIDGE)] * GUESTS, [("plain-guest", DNS)] * GUESTS]
    us, rate, bad = ([[] for _ in ways] for _ in range(3))
    busy = [[] for _ in ways]
    for turn in bench.rounds(bench.count, "DNS"):
        for i, way in enumerate(ways):
            ns, server = way[0]
            for at, prefix, gap_ms in ((us[i], "l", 20), (busy[i], "b", 0)):
                out = ask(ns, "dns", server, f"{prefix}{turn}-", 20, 1, gap_ms)
                at += out["answers"]["us"]
                bad[i].append(out["lost"] + out["refused"])
        for i, way in enumerate(ways):
            r, lost = many(way, f"m{turn}")
            rate[i].append(r)
            bad[i].append(lost)
        time.sleep(2)  # until each guest may ask so many again
    for found, how in ((us, "one every 20 ms"),
                       (busy, "one right after the other")):
        bench.report("network", f"a lookup, {how}",
                     "name never asked before, question to answer in the guest",
                     found[0], list(zip(names, found))[1:], unit="us",
                     us=names[0])
        base = spread(found[2])["median"]
        bench.note("network", f"added latency, p50, {how}",
                   ", ".join(f"{n} {spread(v)['median'] - base:.0f} us"
                             for n, v in list(zip(names, found))[:2]))
    bench.report("network", f"lookups a second of {GUESTS} guests",
                 f"{GUESTS * QUESTIONS} names never asked before, 4 under way "
                 "a guest", rate[0], list(zip(names, rate))[1:], unit="/s",
                 more_is_better=True, us=names[0])
    bench.note("network", "without an answer",
               ", ".join(f"{n} {sum(v)}" for n, v in zip(names, bad)))


# ---- traffic ----

def traffic(ns, host, port, seconds):
    gbit = ask(ns, "stream", host, port, seconds)["gbit_s"]
    rr = ask(ns, "rr", host, port, 1000)["us"]
    new = ask(ns, "connect", host, port, 200)["us"]
    return gbit, rr, new


def look_up():
    """NAMED is learned for the first guest."""
    def once():
        out = ask("guest0", "dns", GATEWAY, "w", 1, 1, 0)
        return out["answers"]["us"] and not out["refused"]
    wait_for("a lookup", once, 10, 0.1)


def bench_traffic(bench, driver):
    seconds = 0.3 if bench.quick else 0.7
    found = {}

    def turn(name, ns, host, port):
        at = found.setdefault(name, ([], [], []))
        gbit, rr, new = traffic(ns, host, port, seconds)
        at[0].append(gbit)
        at[1].extend(rr)
        at[2].extend(new)

    for _ in bench.rounds(bench.count, "traffic"):
        in_ns("plain", "nft", "flush", "ruleset")
        turn(NO_RULES, "plain-guest", SERVER, PORT)
        lib.run("nft", "-f", "-", input=PLAIN_RULES,
                preexec_fn=inside("plain"))
        turn(BRIDGE_RULES, "plain-guest", SERVER, PORT)
        for name, default, rules, host, port in POLICIES:
            driver.policy(default, rules)
            if host == NAMED:
                look_up()
            turn(name, "guest0", host, port)
    us = POLICIES[1][0]
    bench.report_traffic((
            ("throughput, one TCP stream out",
             f"{seconds} s, segments of 64 KiB as a guest with offloads sends",
             "Gbit/s"),
            ("round trip of one byte", "an open connection", "us"),
            ("a new connection", "connect, TLS hellos, a byte there and back", "us")), found, us)
    print("\nthroughput's cost   (the median of each round's own ratio)")
    for name, *_ in POLICIES:
        cost = {}
        for peer in (BRIDGE_RULES, NO_RULES):
            ratios = [a / b for a, b in zip(found[name][0], found[peer][0])]
            cost[peer] = 100 * (1 - spread(ratios)["median"])
        bench.note("network", name, ", ".join(
            f"{v:.1f} % to {k}" for k, v in cost.items()), cost_percent=cost)


def run(bench):
    parts = os.environ.get("BENCH_NETWORK", "rules,guest,dns,traffic").split(",")
    bench.part("network")
    if "rules" in parts:
        bench_rules(bench)
    namespaces(bench)
    lib.run("nft", "-f", "-", input=PLAIN_RULES, preexec_fn=inside("plain"))
    if "guest" in parts:
        bench_egress.bench_guest_traffic(
            bench, lambda *argv: in_ns("plain", *argv))
    driver = Driver(bench)
    if "dns" in parts:
        bench_dns(bench, driver)
    if "traffic" in parts:
        bench_traffic(bench, driver)
