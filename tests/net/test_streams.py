# SPDX-License-Identifier: Apache-2.0
"""test_streams.py - connections by name while they last, and what ends them

How much passes, how many there are, updates that revoke them, and processes
that die (N17, and what N14 to N16 promise of those that live).
"""
import hashlib
import itertools

from web import *


# ---- streams ---------------------------------------------------------------

def download(path="/big"):
    c = socket.create_connection((SITE, 80), 5)
    c.settimeout(20)
    c.sendall(get("site.test", path, "Connection: close\r\n"))
    c.shutdown(socket.SHUT_WR)
    n, start = 0, time.monotonic()
    while True:
        data = c.recv(1 << 20)
        if not data:
            return n, time.monotonic() - start
        n += len(data)


def upload(size):
    data = random.Random(5).randbytes(size)
    c = socket.create_connection((SITE, 80), 5)
    c.settimeout(20)
    c.sendall(get("site.test", "/up", f"Content-Length: {size}\r\n",
                  method="POST"))
    c.sendall(data)
    got = b""
    while hashlib.sha256(data).hexdigest().encode() not in got:
        part = c.recv(65536)
        if not part:
            return False
        got += part
    return True


def tls_download():
    with socket.create_connection((SITE, 443), 5) as c:
        c.settimeout(20)
        with client().wrap_socket(c, server_hostname="site.test") as s:
            s.sendall(b"big")
            time.sleep(0.5)  # what waits must not be lost
            n = 0
            while n < BIG:
                n += len(s.recv(1 << 20))
            return n


@test(careless("lossy"))
def long_streams_pass_whole_in_both_directions(rig):
    g = guest(rig, names=("site.test",))
    assert in_ns(g, download)[0] > BIG
    assert in_ns(g, upload, BIG)
    assert in_ns(g, tls_download) == BIG


@test(without("local-out", "bytes-to"))
def the_rate_toward_a_guest_holds_through_the_splice(rig):
    rig.net.do("limits 0 40 0")
    g = guest(rig, names=("site.test",))
    n, took = in_ns(g, download)
    # A second's worth may pass at once.
    assert BIG < n <= 5e6 * (took + 1), took


def go_away(count):
    """Streams left in the middle, by closing and by resetting."""
    for i in range(count):
        c = socket.create_connection((SITE, 80), 5)
        if i % 2:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                         struct.pack("ii", 1, 0))
        c.sendall(get("site.test", "/big"))
        c.recv(1 << 16)
        c.close()


@test(careless("fragile"))
def guests_that_go_away_in_a_stream_harm_nobody(rig):
    g = guest(rig, names=("site.test",))
    pid = rig.net.helpers()["sandboxd-splice"]
    live = start_talk(g, tls_socket)
    in_ns(g, go_away, 60)
    assert end_of(live)[0] == "alive"
    assert rig.net.helpers()["sandboxd-splice"] == pid


# ---- limits ----------------------------------------------------------------

def still_open(c):
    try:
        return c.recv(4096) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def hold(ip, port, count, send, limit):
    """How many of @count connections live: for 3 s more than @limit, or that
    many and no fewer a moment later."""
    held = []
    for _ in range(count):
        try:
            c = socket.create_connection((ip, port), 2)
            c.sendall(send)
            c.setblocking(False)
            held.append(c)
        except OSError:
            pass

    def alive():
        return sum(still_open(c) for c in held)
    wait_for(lambda: alive() <= limit, 3, 0.1)
    time.sleep(0.3)
    return alive()


@test(without("c0", "ct count"))
def n17_connections_by_name_count_as_others_do(rig):
    rig.net.do("limits 20 0 0")
    g = guest(rig, names=("site.test",))
    assert in_ns(g, hold, SITE, 80, 60, get("site.test"), 20) == 20
    flows = int(rig.net.do("counters 0").split()[-1])
    assert flows <= 21, flows


@test(careless())
def n17_a_guest_holds_only_so_many_that_say_no_name(rig):
    g = guest(rig, names=("site.test",))
    assert in_ns(g, hold, SITE, 443, 400, b"", 128) == 128
    assert "verify_names:limit" in denials(rig)


# ---- revoking, and processes that die --------------------------------------

def talk(sock_maker, path):
    """Say something all the time until told to stop."""
    c = sock_maker()
    c.settimeout(2)
    try:
        while not os.path.exists(path + ".stop"):
            c.sendall(b"ping")
            if not c.recv(100):
                raise OSError("ended")
            with open(path, "w", encoding="ascii") as f:
                f.write(str(time.monotonic()))
            time.sleep(0.02)
        result = "alive"
    except OSError:
        result = "dead"
    with open(path + ".new", "w", encoding="ascii") as f:
        f.write(f"{result} {time.monotonic()}")
    os.rename(path + ".new", path + ".end")


def tls_socket(name="site.test", ip=SITE):
    return client().wrap_socket(socket.create_connection((ip, 443), 3),
                                server_hostname=name)


def plain_socket():
    return socket.create_connection(("203.0.113.10", 9999), 3)


def start_talk(g, maker):
    path = f"/run/talk{random.randrange(1 << 30)}"
    pid = os.fork()
    if pid == 0:
        signal.alarm(0)
        enter(g)
        try:
            talk(maker, path)
        finally:
            os._exit(0)
    assert wait_for(lambda: os.path.exists(path), 10), "it never began"
    return pid, path


def end_of(talk_of, wait=0):
    """How it ended, and when: by itself within @wait seconds, or now."""
    pid, path = talk_of
    wait_for(lambda: os.path.exists(path + ".end"), wait)
    with open(path + ".stop", "w", encoding="ascii"):
        pass
    os.waitpid(pid, 0)
    with open(path + ".end", encoding="ascii") as f:
        result, when = f.read().split()
    return result, float(when)


def cut_within_a_second(rig, begin, revoke):
    """@begin() is a talk that @revoke() ends. On a busy machine the first try
    may be late."""
    def once():
        live = begin()
        now = time.monotonic()
        revoke()
        result, when = end_of(live, 5)
        assert result == "dead", result
        return when - now
    took = best_of(1 if rig.broken else 3, 1.0, once)
    assert took < 1, took


@test(asleep)
def an_update_cuts_what_is_spliced_by_name_within_a_second(rig):
    all_three = "deny +site.test,verify +twin.test,verify +far.test,verify"
    names = ("site.test", "twin.test", "far.test")
    g = guest(rig, all_three, names)
    twin = start_talk(g, lambda: tls_socket("twin.test"))

    def begin(*how):
        rig.net.do(f"update 0 1 {all_three}")
        for name in names:
            assert resolves(g, name) or rig.broken
        return start_talk(g, lambda: tls_socket(*how))
    # The address stays open, for the twin; far's goes.
    for how in (("site.test",), ("far.test", FAR)):
        cut_within_a_second(rig, lambda h=how: begin(*h), lambda: rig.net.do(
            "update 0 1 deny +twin.test,verify"))
    assert end_of(twin)[0] == "alive"


@test(asleep)
def an_update_that_wants_names_cuts_what_said_none(rig):
    g = guest(rig, "deny +site.test", ("site.test",))

    def begin():
        rig.net.do("update 0 1 deny +site.test")
        return start_talk(g, tls_socket)
    cut_within_a_second(rig, begin, lambda: rig.net.do(
        "update 0 1 deny +site.test,verify"))


@test(asleep)
def another_generation_has_nothing_of_what_was_spliced(rig):
    g = guest(rig, names=("site.test",))
    generation = itertools.count(2)

    def begin():
        assert resolves(g, "site.test") or rig.broken
        return start_talk(g, tls_socket)
    cut_within_a_second(rig, begin, lambda: rig.net.do(
        f"attach 0 {next(generation)} {BOTH}"))


@test(ruined(no_name_binding))
def a_killed_splice_fails_closed_and_comes_back(rig):
    g = guest(rig, BOTH + " +203.0.113.10", ("site.test",))
    bound = start_talk(g, tls_socket)
    free = start_talk(g, plain_socket)
    pid = rig.net.helpers()["sandboxd-splice"]
    os.kill(pid, signal.SIGSTOP)
    try:
        got, _ = in_ns(g, lambda: raw(SITE, 80, get("site.test"), wait=0.5))
        assert got == b"timeout" and \
            arrived().count("http site.test /") == 0
    finally:
        os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: in_ns(g, tls, SITE, "site.test")[0] == b"hello",
                    5, 0.1)
    assert "ALERT" in str(in_ns(g, tls, SITE, "twin.test")[0])
    assert end_of(bound, 5)[0] == "dead" and end_of(free)[0] == "alive"


@test(when_killed(lambda: nft("flush set inet sandboxd names")))
def a_killed_engine_leaves_what_is_spliced_and_can_still_revoke_it(rig):
    policy = BOTH + " +twin.test,verify"
    g = guest(rig, policy, ("site.test", "far.test", "twin.test"))
    # One that was killed before is started again after some seconds.
    assert wait_for(lambda: in_ns(g, tls, SITE, "site.test")[0] == b"hello",
                    15, 0.2)
    site = start_talk(g, tls_socket)
    far = start_talk(g, lambda: tls_socket("far.test", FAR))
    rig.net.kill()
    time.sleep(0.3)
    rig.net.start(sweep=False)
    rig.net.do(f"attach 0 1 {policy}")
    rig.net.do("sweep")
    # Which names brought the address is still known.
    for name in ("site.test", "twin.test"):
        got = in_ns(g, tls, SITE, name)
        assert got[0] == b"hello", (name, got, denials(rig))
    # The new engine's splice does not know them: the packet filter ends it.
    cut_within_a_second(rig, lambda: site, lambda: rig.net.do(
        "update 0 1 deny +far.test,verify"))
    assert end_of(far)[0] == "alive"
