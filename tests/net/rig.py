# SPDX-License-Identifier: Apache-2.0
"""rig.py - a node's network, guests and an "internet" in namespaces

Runs as root within `unshare -nm`, so nothing of it is seen outside and all of it
goes when it ends. The node is the present namespace; guests are namespaces
behind the taps (fake_guest); "inet" holds every address of the outside world and
servers that answer on all of them.
"""
import ctypes
import json
import os
import pickle
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

BUILD = os.environ.get("BUILD", ".")
HERE = os.path.dirname(os.path.abspath(__file__))
GATEWAY = "169.254.1.1"
GUEST_MAC = bytes.fromhex("525400534201")
GATEWAY_MAC = bytes.fromhex("025342000001")
NODE = socket.inet_aton("198.51.100.2")
LIBC = ctypes.CDLL(None, use_errno=True)
OUTSIDE = ["203.0.113.10", "203.0.113.11", "203.0.113.53", "203.0.113.99",
           "8.8.8.8", "169.254.169.254", "10.9.0.5", "10.1.1.1",
           "192.168.7.7", "100.100.100.200", "168.63.129.16"]
TCP_PORTS = [22, 53, 80, 443, 853, 8080, 9999]
UDP_PORTS = [443, 853, 9999]


def sh(*args, ok=True):
    done = subprocess.run(args, capture_output=True, text=True)
    if ok and done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr}")
    return done.stdout


def wait_for(what, seconds=5.0, step=0.02):
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


def enter(ns):
    fd = os.open(f"/run/netns/{ns}", os.O_RDONLY)
    if LIBC.setns(fd, 0x40000000) < 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def forget_flows():
    """All of this namespace: also those that a broken rule let through
    without a mark."""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    s.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 2, 0, 0))
    s.recv(4096)
    s.close()


def in_ns(ns, fn, *args):
    """fn(*args) in a child in that namespace; what it returns."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(r)
            if ns:
                enter(ns)
            result = ("ok", fn(*args))
        except BaseException as e:  # the parent raises it
            result = ("error", repr(e))
        with os.fdopen(w, "wb") as out:
            pickle.dump(result, out)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as src:
        data = src.read()
    os.waitpid(pid, 0)
    kind, value = pickle.loads(data)
    if kind == "error":
        raise RuntimeError(value)
    return value


# ---- what a guest does -----------------------------------------------------

def tcp(ip, port, timeout=3.0, send=b"x"):
    """"open", "refused", "prohibited" or "timeout", and the seconds it took."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(timeout)
    start = time.monotonic()
    try:
        s.connect((ip, port))
        s.sendall(send)
        got = s.recv(100)
        return ("open" if got else "closed"), time.monotonic() - start
    except ConnectionRefusedError:
        return "refused", time.monotonic() - start
    except (TimeoutError, socket.timeout):
        return "timeout", time.monotonic() - start
    except OSError:
        return "prohibited", time.monotonic() - start
    finally:
        s.close()


def udp(ip, port, timeout=0.5, data=b"hello"):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(timeout)
    try:
        s.connect((ip, port))
        s.send(data)
        s.recv(2000)
        return "open"
    except (TimeoutError, socket.timeout):
        return "timeout"
    except OSError:
        return "prohibited"
    finally:
        s.close()


def dns_query(name, qtype=1, qid=None, edns=False):
    qid = random.randrange(65536) if qid is None else qid
    wire = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p)
    msg = struct.pack("!6H", qid, 0x0100, 1, 0, 0, 1 if edns else 0)
    msg += wire + b"\0" + struct.pack("!2H", qtype, 1)
    if edns:
        msg += b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0)
    return msg


def skip_name(msg, at):
    while True:
        n = msg[at]
        if n >= 0xC0:
            return at + 2
        at += 1 + n
        if n == 0:
            return at


def dns_answer(msg):
    """rcode, [addresses], least ttl"""
    _, flags, qd, an, _, _ = struct.unpack("!6H", msg[:12])
    at = 12
    for _ in range(qd):
        at = skip_name(msg, at) + 4
    found, ttl = [], None
    for _ in range(an):
        at = skip_name(msg, at)
        kind, _, t, n = struct.unpack("!HHIH", msg[at:at + 10])
        if kind == 1:
            found.append(socket.inet_ntoa(msg[at + 10:at + 14]))
            ttl = t if ttl is None else min(ttl, t)
        at += 10 + n
    return flags & 15, found, ttl


def lookup(name, qtype=1, server=GATEWAY, timeout=5.0, over_tcp=False):
    """rcode, addresses, ttl; or None"""
    try:
        if over_tcp:
            s = socket.create_connection((server, 53), timeout)
            q = dns_query(name, qtype)
            s.sendall(struct.pack("!H", len(q)) + q)
            data = b""
            while len(data) < 2 or len(data) < 2 + data[0] * 256 + data[1]:
                got = s.recv(65536)
                if not got:
                    return None
                data += got
            return dns_answer(data[2:])
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(timeout)
        s.sendto(dns_query(name, qtype), (server, 53))
        return dns_answer(s.recv(65536))
    except OSError:
        return None
    finally:
        if "s" in locals():
            s.close()


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(src, dst, proto, payload, frag=0, ident=1, options=b""):
    ihl = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | ihl, 0,
                       ihl * 4 + len(payload), ident, frag, 64, proto, 0,
                       socket.inet_aton(src), socket.inet_aton(dst)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp_payload(sport, dport, data):
    return struct.pack("!4H", sport, dport, 8 + len(data), 0) + data


def ether(payload, kind=0x0800, src=GUEST_MAC, dst=GATEWAY_MAC):
    return dst + src + struct.pack("!H", kind) + payload


def send_frames(frames):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(("eth0", 0))
    for f in frames:
        s.send(f)
    s.close()


# ---- the outside -----------------------------------------------------------

ZONE = {
    "allowed.test": (60, ["203.0.113.10"]),
    "other.test": (60, ["203.0.113.11"]),
    "one.test": (1, ["203.0.113.11"]),
    "zero.test": (0, ["203.0.113.10"]),
    "day.test": (86400, ["203.0.113.10"]),
    "huge.test": (2 ** 31 - 1, ["203.0.113.10"]),
    "inside.test": (60, ["10.9.0.5"]),
    "mixed.test": (60, ["10.1.1.1", "203.0.113.10", "127.0.0.1"]),
    "rebind.test": (60, ["10.1.1.1"]),
    "loop.test": (60, ["127.0.0.1"]),
    "meta.test": (60, ["169.254.169.254"]),
    "host.test": (60, ["198.51.100.2"]),
    "zeroes.test": (60, ["0.0.0.0"]),
    "many.test": (60, [f"203.0.113.{i}" for i in range(100, 140)]),
}
CNAMES = {"alias.test": "hidden.elsewhere.example", "hop.test": "alias.test",
          "circle.test": "circle.test", "inward.test": "rebind.test"}
# Two sites at one address, and another.
ZONE["site.test"] = ZONE["twin.test"] = (60, ["203.0.113.20"])
ZONE["far.test"] = (60, ["203.0.113.21"])
ZONE["hidden.elsewhere.example"] = (60, ["203.0.113.11"])


def wire_name(name):
    return b"".join(bytes([len(p)]) + p.encode()
                    for p in name.split(".")) + b"\0"


def serve_dns(msg, log, tcp_mode=False):
    end = skip_name(msg, 12)
    raw, qtype = msg[12:end], struct.unpack("!H", msg[end:end + 2])[0]
    labels, at = [], 0
    while raw[at]:
        labels.append(raw[at + 1:at + 1 + raw[at]].decode("latin1"))
        at += 1 + raw[at]
    name = ".".join(labels).lower()
    log.write(f"{name} {qtype}\n")
    log.flush()
    answers, seen, owner = b"", 0, b"\xc0\x0c"
    while name in CNAMES and seen < 12:
        target = wire_name(CNAMES[name])
        answers += owner + struct.pack("!HHIH", 5, 1, 60, len(target)) + target
        name, owner, seen = CNAMES[name], target, seen + 1
    count = seen
    ttl, addresses = ZONE.get(name, (60, []))
    if name.startswith("at-"):  # at-10-0-0-1.anything is there
        addresses = [name.split(".")[0][3:].replace("-", ".")]
    if name.endswith(".race.test"):
        n = int(name.split(".")[0])
        ttl, addresses = 0, [f"203.0.112.{n % 250 + 1}"]
    if qtype == 1:
        for a in addresses:
            answers += owner + struct.pack("!HHIH", 1, 1, ttl, 4)
            answers += socket.inet_aton(a)
            count += 1
    known = addresses or count
    head = msg[:2] + struct.pack("!5H", 0x8180 | (0 if known else 3), 1, count,
                                 0, 0)
    if len(answers) > 1100 and not tcp_mode:
        head = msg[:2] + struct.pack("!5H", 0x8380, 1, 0, 0, 0)
        answers = b""
    return head + msg[12:end + 4] + answers


def outside(log_path):
    """Servers on every address and the ports above. Never returns."""
    poll = select.poll()
    socks = {}
    log = open(log_path, "a", encoding="ascii")

    def add(s, kind):
        s.setblocking(False)
        socks[s.fileno()] = (s, kind)
        poll.register(s, select.POLLIN)

    for port in TCP_PORTS:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", port))
        s.listen(1000)
        add(s, "dnslisten" if port == 53 else "listen")
    for port in UDP_PORTS:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        s.bind(("0.0.0.0", port))
        add(s, "udp")
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, 8, 1)
    s.bind(("0.0.0.0", 53))
    add(s, "dns")
    while True:
        for fd, _ in poll.poll():
            s, kind = socks[fd]
            try:
                if kind in ("listen", "dnslisten"):
                    c, _ = s.accept()
                    add(c, "conn" if kind == "listen" else "dnsconn")
                elif kind in ("udp", "dns"):
                    data, anc, _, peer = s.recvmsg(4096, 100)
                    if kind == "dns":
                        data = serve_dns(data, log)
                    s.sendmsg([data], anc, 0, peer)
                else:
                    data = s.recv(65536)
                    if not data:
                        raise OSError
                    if kind == "dnsconn":
                        out = serve_dns(data[2:], log, True)
                        data = struct.pack("!H", len(out)) + out
                    s.sendall(data)
            except OSError:
                if kind in ("conn", "dnsconn"):
                    poll.unregister(fd)
                    del socks[fd]
                    s.close()


class Sniffer:
    """Counts IP packets that leave the node with @mark in them."""

    def __init__(self, mark):
        self.mark = mark
        r, self.go = os.pipe()
        self.back, w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            enter("inet")
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                              socket.htons(3))
            s.bind(("inet0", 3))
            s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
            os.write(w, b"r")
            seen = 0
            while True:
                ready, _, _ = select.select([s, r], [], [])
                if s in ready:
                    data = s.recv(65536)
                    # Not what the servers answered to the node.
                    seen += mark in data and data[30:34] != NODE
                elif r in ready:
                    os.write(w, str(seen).encode())
                    os._exit(0)
        os.close(r)
        os.close(w)
        os.read(self.back, 1)

    def count(self):
        # A packet of ours that must come: those sent before it came already.
        os.write(self.go, b"x")
        n = int(os.read(self.back, 20))
        os.waitpid(self.pid, 0)
        os.close(self.back)
        os.close(self.go)
        return n


# ---- the node --------------------------------------------------------------

class Driver:
    def __init__(self, slots=64, times="0,0,0,0,400,50", sweep=True,
                 resolver=f"{BUILD}/sandboxd-resolver",
                 splice=f"{BUILD}/sandboxd-splice"):
        """@times: least, most, grace of learned addresses, renewal, check of the
        rules and pause between mending them, in ms; 0: the daemon's own."""
        self.args = [f"{BUILD}/tests/net/net_driver", resolver, str(slots),
                     "10.200.0.0", "16", "dns=203.0.113.53",
                     "private=10.9.0.0/16", f"times={times}",
                     f"splice={splice}"]
        self.attached = set()
        self.start(sweep)

    def start(self, sweep=True):
        """@sweep: as the daemon does, once it has attached what lives."""
        self.p = subprocess.Popen(self.args, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.expect()
        if sweep:
            self.do("sweep")

    def expect(self):
        line = self.p.stdout.readline().strip()
        if not line.startswith("ok"):
            raise RuntimeError(f"net_driver: {line}")
        return line[3:]

    def do(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        answer = self.expect()
        word, slot = (line.split() + [""])[:2]
        if word == "attach":
            self.attached.add(int(slot))
        elif word == "detach":
            self.attached.discard(int(slot))
        return answer

    def close(self, how):
        self.do(f"close {how}")
        self.p.wait()

    def kill(self):
        self.p.kill()
        self.p.wait()

    def helpers(self):
        """The node's other processes, by name."""
        out = sh("ps", "-o", "pid=,comm=", "--ppid", str(self.p.pid), ok=False)
        found = (l.split() for l in out.splitlines() if "sandboxd" in l)
        return {name: int(pid) for pid, name in found}

    def resolver_pids(self):
        return [p for n, p in self.helpers().items() if "resolv" in n]


class Rig:
    def __init__(self):
        sh("mount", "-t", "tmpfs", "none", "/run")
        os.makedirs("/run/netns", exist_ok=True)
        self.log = "/run/dns.log"
        open(self.log, "w", encoding="ascii").close()
        self.guests = {}
        self.pids = []
        self.keep_options = False
        self.broken = False  # its rule is out, and the engine stands still
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "netns", "add", "inet")
        sh("ip", "link", "add", "up0", "type", "veth", "peer", "inet0",
           "netns", "inet")
        sh("ip", "addr", "add", "198.51.100.2/24", "dev", "up0")
        sh("ip", "link", "set", "up0", "up")
        ns = ["ip", "-n", "inet"]
        sh(*ns, "link", "set", "lo", "up")
        sh(*ns, "addr", "add", "198.51.100.1/24", "dev", "inet0")
        sh(*ns, "link", "set", "inet0", "up")
        for a in OUTSIDE:
            sh(*ns, "addr", "add", f"{a}/32", "dev", "lo")
        sh(*ns, "route", "add", "local", "203.0.112.0/24", "dev", "lo")
        sh("ip", "route", "add", "default", "via", "198.51.100.1")
        pid = os.fork()
        if pid == 0:
            enter("inet")
            outside(self.log)
        self.pids.append(pid)
        wait_for(lambda: in_ns("inet", tcp, "203.0.113.10", 80)[0] == "open")
        self.net = Driver()

    def fresh(self, **options):
        """Another engine, with nothing of the old one's; guests' programs
        stay, and have no tap."""
        for name in list(self.guests):
            self.drop_guest(int(name[1:]), detach=False)
        if self.net.p.poll() is None:
            self.net.close("remove")
        self.net = Driver(**options)

    def anew(self):
        """Rules as the engine would have them, whatever was done to them."""
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        forget_flows()
        assert wait_for(lambda: "chain masquerade" in
                        sh("nft", "list", "ruleset"), 8)
        time.sleep(0.12)  # it may be told of the flush a second time

    def reset(self):
        """As before any test."""
        if self.net.p.poll() is not None:
            self.net.start()
        self.net.do("limits 0 0 0")
        for name in sorted(self.guests, key=len, reverse=True):
            self.drop_guest(int(name[1:]))
        # Without a guest behind them; a test that failed, or was to, may have
        # left them.
        for n in sorted(self.net.attached):
            self.net.do(f"detach {n}")

    def guest(self, n, generation, policy):
        """Attach slot @n and put a namespace behind its tap."""
        self.net.do(f"attach {n} {generation} {policy}")
        name = f"g{n}"
        if name in self.guests:
            return name
        sh("ip", "netns", "add", name)
        p = subprocess.Popen([f"{BUILD}/tests/net/fake_guest", f"sbx{n}",
                              f"/run/netns/{name}"], stdout=subprocess.PIPE)
        p.stdout.readline()
        ns = ["ip", "-n", name]
        sh(*ns, "link", "set", "lo", "up")
        sh(*ns, "link", "set", "eth0", "address", "52:54:00:53:42:01")
        sh(*ns, "addr", "add", f"10.200.0.{n + 2}/32", "dev", "eth0")
        sh(*ns, "link", "set", "eth0", "up")
        sh(*ns, "route", "add", GATEWAY, "dev", "eth0")
        sh(*ns, "route", "add", "default", "via", GATEWAY, "dev", "eth0")
        self.guests[name] = p
        return name

    def drop_guest(self, n, detach=True):
        name = f"g{n}"
        p = self.guests.pop(name)
        p.kill()
        p.wait()
        sh("ip", "netns", "del", name)
        if detach:
            self.net.do(f"detach {n}")

    def queries(self):
        with open(self.log, encoding="ascii") as f:
            return f.read().split("\n")[:-1]

    def clear_queries(self):
        open(self.log, "w", encoding="ascii").close()

    def end(self):
        for p in self.guests.values():
            p.kill()
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        if self.net.p.poll() is None:
            self.net.kill()
