#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""speed.py - what name binding costs: one guest, one site, with and without

A guest's namespace behind a tap, the web behind the uplink, all on this machine:
so the numbers are of its CPUs, and only their ratio means something.
    tests/net/run.sh --speed [SECONDS]
"""
import statistics
import threading

from rig import *
import web

BLOCK = b"\0" * (1 << 20)


def answer(c):
    """GET: as much as fits in the seconds of its path; POST: swallow."""
    try:
        with c:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = c.recv(65536)
                    if not part:
                        return
                    head += part
                if head.startswith(b"GET /0 "):
                    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                elif head.startswith(b"GET"):
                    end = time.monotonic() + float(head.split()[1][1:])
                    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    while time.monotonic() < end:
                        c.sendall(BLOCK)
                    return
                else:
                    buf = bytearray(1 << 20)
                    while c.recv_into(buf):
                        pass
                    return
    except OSError:
        pass


def serve():
    enter("web")
    s = socket.create_server(("0.0.0.0", 8000), backlog=1024)
    while True:
        c, _ = s.accept()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(c,), daemon=True).start()


def down(seconds):
    c = socket.create_connection((web.SITE, 80), 5)
    c.sendall(web.get("site.test", f"/{seconds}"))
    buf, n, start = bytearray(1 << 20), 0, time.monotonic()
    while True:
        got = c.recv_into(buf)
        if not got:
            return n * 8 / (time.monotonic() - start) / 1e9
        n += got


def up(seconds):
    c = socket.create_connection((web.SITE, 80), 5)
    c.sendall(web.get("site.test", "/", f"Content-Length: {1 << 50}\r\n",
                      method="POST"))
    n, start = 0, time.monotonic()
    while time.monotonic() < start + seconds:
        c.sendall(BLOCK)
        n += len(BLOCK)
    return n * 8 / (time.monotonic() - start) / 1e9


def first_answers(count):
    """Microseconds from connect to answer, a new connection each."""
    took = []
    for _ in range(count):
        start = time.monotonic()
        with socket.create_connection((web.SITE, 80), 5) as c:
            c.sendall(web.get("site.test", "/0"))
            c.recv(4096)
        took.append((time.monotonic() - start) * 1e6)
    return took


def next_answers(count):
    """The same on one connection."""
    took = []
    with socket.create_connection((web.SITE, 80), 5) as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            start = time.monotonic()
            c.sendall(web.get("site.test", "/0"))
            c.recv(4096)
            took.append((time.monotonic() - start) * 1e6)
    return took


def middle(values):
    return statistics.median(values)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    rig = Rig()
    try:
        web.set_up(rig)
        pid = os.fork()
        if pid == 0:
            serve()
        rig.pids.append(pid)
        # Port 80 of the site leads to the quick server, not to the tests'.
        subprocess.run(["ip", "netns", "exec", "web", "nft", "-f", "-"],
                       input="table ip t {\nchain c {\ntype nat hook prerouting "
                       "priority -100\ntcp dport 80 redirect to :8000\n}\n}\n",
                       text=True, check=True)
        results = {}
        for turn in range(3):
            for name, policy in (("without", "deny +site.test"),
                                 ("with", "deny +site.test,verify")):
                g = web.guest(rig, policy, ("site.test",))
                r = results.setdefault(name, {k: [] for k in (
                    "down Gbit/s", "up Gbit/s", "new us p50", "next us p50")})
                r["down Gbit/s"].append(in_ns(g, down, seconds))
                r["up Gbit/s"].append(in_ns(g, up, seconds))
                r["new us p50"].append(middle(in_ns(g, first_answers, 300)))
                r["next us p50"].append(middle(in_ns(g, next_answers, 1000)))
                rig.drop_guest(0)
                if turn == 0:
                    rig.net.do("settle")
        for what in results["with"]:
            a, b = (middle(results[k][what]) for k in ("without", "with"))
            print(f"{what:12} without {a:8.2f}  with {b:8.2f}  "
                  f"{(b / a - 1) * 100:+6.1f} %")
    finally:
        rig.end()


if __name__ == "__main__":
    main()
