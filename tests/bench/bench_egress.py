# SPDX-License-Identifier: Apache-2.0
"""bench_egress.py - traffic out of a real guest, by what its policy says

A sandbox, and a guest of libvirt alone of the same image, kernel, machine and
memory (bench_peer.py) on a plain bridge with nft rules, send to the same hosts.
Both run the same program, one at a time; a round is one of each way. The clock
is the guest's.
"""
import base64
import json

import bench_lib as lib
from bench_lib import CTL, Failed, run, spread, wait_for
from bench_peer import Libvirtd, Peer

SERVER, NAMED, DNS = "203.0.113.10", "203.0.113.49", "203.0.113.53"
PORT = 9000
NAME = "w000000.bench.example"
BRIDGED = "10.97.0.3"
BRIDGE = "10.97.0.1"
ROUND_TRIPS = 200

# What the sandbox's rules are, and where it connects to.
WAYS = [
    ("sandboxd, no policy", ["--egress", "allow"], SERVER, PORT),
    ("sandboxd, policy by address",
     ["--egress", "deny", "--allow", "192.0.2.0/24", "--allow",
      "203.0.113.0/28"], SERVER, PORT),
    ("sandboxd, policy by name",
     ["--egress", "deny", "--allow", "192.0.2.0/24", "--allow",
      f"*.bench.example:{PORT}"], NAME, PORT),
    ("sandboxd, name bound on the wire",
     ["--egress", "deny", "--allow", "192.0.2.0/24", "--allow",
      "*.bench.example"], NAME, 443),
]
PLAIN = "libvirt's guest, bridge, nft rules"

# In either guest: HOST PORT SECONDS ROUND_TRIPS. As bench_net's client: it begins
# as TLS does, as names are bound by that.
SENDER = """
import json, socket, struct, sys, time
host, port, seconds, trips = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), \\
    int(sys.argv[4])
name = b"w000000.bench.example"
p16 = lambda b: struct.pack(">H", len(b)) + b
exts = b"\\0\\0" + p16(p16(b"\\0" + p16(name))) + b"\\0\\x2b\\0\\3\\2\\3\\4"
body = b"\\3\\3" + b"r" * 32 + b"\\0\\0\\2\\x13\\1\\1\\0" + p16(exts)
hello = b"\\x16\\3\\1" + p16(b"\\1\\0" + p16(body))

def dial(kind):
    s = socket.create_connection((host, port), 10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(hello)
    left = 47
    while left:
        left -= len(s.recv(left))
    s.sendall(kind)
    return s

s = dial(b"S")
chunk, sent = b"x" * 65536, 0
begin = time.monotonic()
while time.monotonic() - begin < seconds:
    s.sendall(chunk)
    sent += len(chunk)
s.shutdown(socket.SHUT_WR)
s.recv(1)
mbit = sent * 8 / (time.monotonic() - begin) / 1e6
s.close()
s, us = dial(b"E"), []
for i in range(trips):
    begin = time.monotonic()
    s.sendall(b"x")
    s.recv(1)
    us.append(round((time.monotonic() - begin) * 1e6, 1))
s.close()
print(json.dumps({"mbit_s": mbit, "us": us}))
"""


def peer_exec(peer, *argv):
    """A command by the guest agent: its network is not asked for that."""
    pid = peer.qga.ask("guest-exec", path=argv[0], arg=list(argv[1:]),
                       **{"capture-output": True})["pid"]

    def ended():
        status = peer.qga.ask("guest-exec-status", pid=pid)
        return status if status["exited"] else None
    status = wait_for("a command in the peer", ended, 120, 0.05)
    if status.get("exitcode"):
        raise Failed(base64.b64decode(status.get("err-data", "")).decode())
    return base64.b64decode(status.get("out-data", "")).decode()


def start_peer(bench, in_plain):
    """Its tap is one of the plain host's bridge."""
    peer = Peer(bench, Libvirtd(bench, "peer"), 0)
    bench.closers.append(peer.close)
    peer.start()
    peer.qga.connect()
    run("ip", "link", "set", peer.tap, "netns", "plain")
    in_plain("ip", "link", "set", peer.tap, "master", "br0", "up")
    peer_exec(peer, "/bin/sh", "-c",
              f"ip addr flush dev eth0; ip addr add {BRIDGED}/24 dev eth0; "
              f"ip route add default via {BRIDGE}")
    return peer


def measure(bench, sandbox, peer):
    seconds = "1" if bench.quick else "2"
    found = {}

    def turn(name, out):
        got = json.loads(out)
        at = found.setdefault(name, ([], []))
        at[0].append(got["mbit_s"])
        at[1].extend(got["us"])

    for _ in bench.rounds(bench.count, "a guest's traffic"):
        turn(PLAIN, peer_exec(peer, "/usr/bin/python3", "-c", SENDER, SERVER,
                              str(PORT), seconds, str(ROUND_TRIPS)))
        for name, policy, host, port in WAYS:
            run(CTL, "update", sandbox, *policy)
            turn(name, bench.node.exec(
                sandbox, "python3", "-c", SENDER, host, str(port), seconds,
                str(ROUND_TRIPS)).stdout)
    return seconds, found


def report(bench, seconds, found):
    us = WAYS[0][0]
    bench.report_traffic((
            ("a guest's throughput, one TCP stream out",
             f"{seconds} s, 64 KiB a call", "Mbit/s"),
            ("a guest's round trip of one byte", "an open connection", "us")), found, us)
    print("\na guest's throughput's cost   (the median of each round's own ratio)")
    for peer, names in ((PLAIN, [w[0] for w in WAYS]),
                        (us, [w[0] for w in WAYS[1:]])):
        for name in names:
            ratios = [a / b for a, b in zip(found[name][0], found[peer][0])]
            cost = {k: 100 * (1 - v) for k, v in spread(ratios).items()
                    if k in ("median", "min", "max")}
            bench.note("network", f"{name}, to {peer}",
                       f"{cost['median']:.1f} % "
                       f"({cost['max']:.1f} .. {cost['min']:.1f})",
                       cost_percent=cost)


def bench_guest_traffic(bench, in_plain):
    """@in_plain runs a program where the peer's bridge is."""
    node = bench.start_node("network.uplink=up0",
                            f"network.dns_upstreams={DNS}")
    sandbox = node.create()
    peer = start_peer(bench, in_plain)
    try:
        report(bench, *measure(bench, sandbox, peer))
    finally:
        peer.close()
        node.terminate(sandbox)
        node.down()
        bench.node = None
