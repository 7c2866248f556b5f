# SPDX-License-Identifier: Apache-2.0
"""test_splice.py - connections that must say the name they are for (N14 to N16)"""
from web import *


# ---- N14 -------------------------------------------------------------------

@test(flush("chain", "u0"),
      flush("chain", "n0"))
def n14_a_site_is_reached_by_its_name(rig):
    g = guest(rig)
    got, took = in_ns(g, tls, SITE, "site.test")
    assert got == b"hello", got
    assert took < AT_ONCE
    assert in_ns(g, tls, FAR, "FAR.test")[0] == b"hello"
    got, _ = in_ns(g, raw, SITE, 80, get("Site.test:80"))
    assert b"200 OK" in got and got.endswith(b"hellotimeout"), got
    assert "tls site.test" in arrived()


@test(kernel(no_name_binding), careless())
def n14_another_site_at_the_address_is_refused_at_once(rig):
    g = guest(rig)
    got, took = in_ns(g, tls, SITE, "twin.test")
    assert "ALERT_ACCESS_DENIED" in str(got), got
    assert took < AT_ONCE, took
    got, took = in_ns(g, raw, SITE, 80, get("twin.test"))
    assert got.startswith(b"HTTP/1.1 403 ") and b"'twin.test'" in got, got
    assert got.count(b"\n", got.index(b"\r\n\r\n") + 4) == 1
    assert took < AT_ONCE, took
    assert arrived() == [], arrived()
    listed = denials(rig)
    for port in (443, 80):
        assert f"twin.test@{SITE}/{port}/tcp/verify_names:not-learned/1" \
            in listed, listed
    assert rig.broken or " denied 2 " in rig.net.do("counters 0")


@test(kernel(no_name_binding), careless())
def n14_an_allowed_name_at_anothers_address_is_refused(rig):
    g = guest(rig)
    for ip, name in ((FAR, "site.test"), (SITE, "far.test")):
        got, _ = in_ns(g, tls, ip, name)
        assert "ALERT_ACCESS_DENIED" in str(got), got
        assert b" 403 " in in_ns(g, raw, ip, 80, get(name))[0]
    assert arrived() == []


@test(kernel(no_name_binding))
def n14_what_another_guest_learned_opens_nothing(rig):
    g = guest(rig, names=("far.test",))
    g1 = rig.guest(1, 1, BOTH)
    assert in_ns(g1, lookup, "site.test")[1] == [SITE]
    assert in_ns(g1, tls, SITE, "site.test")[0] == b"hello"
    got, took = in_ns(g, tls, SITE, "site.test")
    assert "ConnectionRefused" in got, got
    # Nor by way of an address that it does know.
    assert "ALERT" in str(in_ns(g, tls, FAR, "site.test")[0])
    in_ns(g, lookup, "site.test")
    assert in_ns(g, tls, SITE, "site.test")[0] == b"hello"


@test(told(r"\+twin.test,verify", "+twin.test,9999,verify"))
def n14_two_allowed_names_of_one_address_are_both_good(rig):
    g = guest(rig, "deny +site.test,verify +twin.test,verify",
              ("site.test", "twin.test"))
    for name in ("site.test", "twin.test"):
        assert in_ns(g, tls, SITE, name)[0] == b"hello"


@test(told(r"\+site.test$", "+site.test,verify"))
def n14_a_rule_without_verification_lets_any_name_pass(rig):
    g = guest(rig, "deny +site.test", ("site.test",))
    assert in_ns(g, tls, SITE, "twin.test")[0] == b"hello"
    assert b" 200 " in in_ns(g, raw, SITE, 80, get("anything"))[0]
    # And both ways by a live update.
    rig.net.do("update 0 1 deny +site.test,verify")
    assert "ALERT" in str(in_ns(g, tls, SITE, "twin.test")[0])
    rig.net.do("update 0 1 deny +site.test")
    assert in_ns(g, tls, SITE, "twin.test")[0] == b"hello"


@test(without("n0", "@ranges"),
      told(r" \+203.*", ""))
def n14_an_address_open_by_a_rule_of_its_own_is_not_bound(rig):
    g = guest(rig, f"deny +site.test,verify +{SITE},tcp,443", ("site.test",))
    assert in_ns(g, tls, SITE, "twin.test")[0] == b"hello"
    assert b" 403 " in in_ns(g, raw, SITE, 80, get("twin.test"))[0]


@test(without("p0", "tcp dport 9999"),
      told(",verify", ""))
def n14_other_ports_of_a_name_are_as_ever(rig):
    set_up(rig)
    g = rig.guest(0, 1, "deny +allowed.test,79-81,9999,verify")
    in_ns(g, lookup, "allowed.test")
    assert in_ns(g, tcp, "203.0.113.10", 9999)[0] == "open"
    assert in_ns(g, tcp, "203.0.113.10", 80)[0] != "open"
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "refused"


def marked(ip, port, mark):
    """As the engine does for the splice, but to any address."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, 36, mark)
    s.settimeout(1)
    try:
        s.connect((ip, port))
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except OSError as e:
        return str(e)
    finally:
        s.close()


@test(without("local-out", "goto upstream"))
def n14_what_bears_the_splices_mark_gets_only_where_its_guest_may(rig):
    guest(rig, names=("site.test",))
    listener = socket.create_server(("198.51.100.2", 8443))
    try:
        assert marked(SITE, 443, 0x53420000) == "open"
        for ip, port in (("198.51.100.2", 8443), ("127.0.0.1", 8443),
                         ("10.1.1.1", 80), ("169.254.169.254", 80),
                         (FAR, 443), (SITE, 8080), ("8.8.8.8", 443)):
            assert marked(ip, port, 0x53420000) == "refused", (ip, port)
        assert marked(SITE, 443, 0x53420007) == "refused"
    finally:
        listener.close()
    # Marks of other programs are theirs.
    assert marked(FAR, 443, 0x1) == "open"
    assert marked(FAR, 443, 0x42001) == "open"


# ---- N15 -------------------------------------------------------------------

@test(careless())
def n15_a_hello_in_any_pieces_is_put_together(rig):
    g = guest(rig, names=("site.test",))
    whole = hello(sni(b"site.test"))
    wire = records(whole)
    one_byte = [wire[i:i + 1] for i in range(len(wire))]
    for parts in ([wire], one_byte, [records(whole, 1)],
                  [records(whole, 5)[i:i + 3]
                   for i in range(0, len(records(whole, 5)), 3)]):
        got, _ = in_ns(g, raw, SITE, 443, *parts)
        assert is_server_hello(got), got
    assert arrived() == ["tls site.test"] * 4, arrived()
    # In pieces, another name is as wrong as in one.
    evil = records(hello(sni(b"twin.test")), 3)
    got, _ = in_ns(g, raw, SITE, 443, *[evil[i:i + 1]
                                        for i in range(len(evil))])
    assert is_alert(got), got


HELLOS = {
    "no-name": records(hello()),
    "not-a-name": records(hello(sni(SITE.encode()))),
    "two-names": records(hello(sni(b"site.test"), sni(b"twin.test"))),
    "ech": records(hello(sni(b"site.test"), extension(0xfe0d, b"\0" * 40))),
    "too-long": records(hello(sni(b"site.test"), filler=17000)),
    "malformed": records(hello(sni(b"site.test")) + hello(sni(b"twin.test"))),
}


@test(kernel(no_name_binding), careless())
def n15_hellos_without_one_clear_name_are_refused_at_once(rig):
    g = guest(rig, names=("site.test",))
    for why, wire in HELLOS.items():
        got, took = in_ns(g, raw, SITE, 443, wire)
        assert is_alert(got), (why, got)
        assert took < AT_ONCE, (why, took)
        assert rig.broken or f"/443/tcp/verify_names:{why}/" in denials(rig), \
            (why, denials(rig))
    got, _ = in_ns(g, raw, SITE, 443, records(
        hello(sni(b"site.test", b"twin.test"))))
    assert is_alert(got), got
    assert arrived() == [], arrived()


@test(kernel(no_name_binding), careless())
def n15_what_is_neither_tls_nor_http_is_reset_at_once(rig):
    g = guest(rig, names=("site.test",))
    for first in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\x80\x2e\1\3\1", b"\0\0\0\1"):
        got, took = in_ns(g, raw, SITE, 443, first)
        assert got == b"reset" and took < AT_ONCE, (first, got, took)
    assert "verify_names:unknown" in denials(rig)


@test(careless())
def n15_a_hello_that_never_ends_is_cut_after_five_seconds(rig):
    g = guest(rig, names=("site.test",))
    got, took = in_ns(g, lambda: raw(
        SITE, 443, records(hello(sni(b"site.test")))[:60], wait=9))
    assert got == b"reset" and 4.5 < took < 9, (got, took)
    assert "verify_names:slow" in denials(rig)


def second_hello(name):
    """Answer the server's HelloRetryRequest with this."""
    c = socket.create_connection((SITE, 443), 3)
    c.settimeout(3)
    c.sendall(records(hello(sni(b"site.test"))))
    first = c.recv(65536)
    c.sendall(b"\x14\3\3\0\1\1" + records(hello(sni(name))))
    try:
        return first, c.recv(65536)
    except OSError as e:
        return first, str(e)


@test(careless())
def n15_a_second_hello_must_have_the_same_name(rig):
    g = guest(rig, names=("site.test",))
    # A real client's, which is asked again for another group.
    assert in_ns(g, tls, SITE, "site.test")[0] == b"hello"
    first, then = in_ns(g, second_hello, b"site.test")
    assert is_server_hello(first) and isinstance(then, bytes), (first, then)
    before = arrived()
    first, then = in_ns(g, second_hello, b"twin.test")
    assert is_server_hello(first)
    assert "reset" in str(then), then
    assert "tls twin.test" not in arrived() and "tls site.test" in before, \
        (before, arrived())
    assert f"twin.test@{SITE}/443/tcp/verify_names:other-name" in denials(rig)


@test(careless())
def with_ech_let_in_the_outer_name_decides(rig):
    g = guest(rig, names=("site.test",))
    rig.net.close("keep")
    args = rig.net.args
    rig.net.args = args + ["ech"]
    try:
        rig.net.start(sweep=False)
        rig.net.do(f"attach 0 1 {BOTH}")
        in_ns(g, lookup, "site.test")
        got, _ = in_ns(g, raw, SITE, 443, HELLOS["ech"])
        assert is_server_hello(got), got
        got, _ = in_ns(g, raw, SITE, 443, records(
            hello(sni(b"twin.test"), extension(0xfe0d, b"\0" * 40))))
        assert is_alert(got), got
    finally:
        rig.net.close("keep")
        rig.net.args = args
        rig.net.start()


# ---- N16 -------------------------------------------------------------------

def two_requests(first, second):
    """The second only when the first was answered."""
    c = socket.create_connection((SITE, 80), 3)
    c.settimeout(3)
    c.sendall(first)
    one = b""
    while b"hello" not in one:
        one += c.recv(65536)
    c.sendall(second)
    two = b""
    try:
        while True:
            data = c.recv(65536)
            if not data:
                return one, two
            two += data
            if b"hello" in two:
                return one, two
    except OSError as e:
        return one, two + str(e).encode()


@test(kernel(no_name_binding), careless())
def n16_a_second_request_for_another_host_is_refused(rig):
    g = guest(rig, names=("site.test",))
    one, two = in_ns(g, two_requests, get("site.test", "/1"),
                     get("SITE.test", "/2"))
    assert b" 200 " in one and b" 200 " in two, (one, two)
    one, two = in_ns(g, two_requests, get("site.test", "/3"),
                     get("twin.test", "/4"))
    assert b" 200 " in one and b" 403 " in two, (one, two)
    # Both in one segment, and behind bodies of both kinds.
    evil = get("twin.test", "/5")
    for body in (b"", get("site.test", "/b", "Content-Length: 3\r\n",
                          method="POST") + b"abc",
                 get("site.test", "/c", "Transfer-Encoding: chunked\r\n",
                     method="POST") + b"3;x\r\nabc\r\n0\r\n\r\n"):
        in_ns(g, raw, SITE, 80, get("site.test", "/6") + body + evil)
    assert not [l for l in arrived() if "twin" in l], arrived()
    assert f"twin.test@{SITE}/80/tcp/verify_names:other-name" in denials(rig)


@test(kernel(no_name_binding), careless())
def n16_requests_that_name_a_host_in_another_way_are_refused(rig):
    g = guest(rig, names=("site.test",))
    bad = {
        "connect": get("site.test", "twin.test:443", method="CONNECT"),
        "two-names": get("site.test", "http://twin.test/"),
        "no-name": b"GET / HTTP/1.0\r\n\r\n",
        "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "not-a-name": get(SITE),
        "malformed": b"GET / HTTP/1.1\r\nHost: site.test\r\n"
                     b"X: y\nHost: twin.test\r\n\r\n",
    }
    for why, request in bad.items():
        got, took = in_ns(g, raw, SITE, 80, request)
        assert b" 403 " in got and took < AT_ONCE, (why, got, took)
        assert rig.broken or f"/80/tcp/verify_names:{why}/" in denials(rig), \
            (why, denials(rig))
    got, _ = in_ns(g, raw, SITE, 80, b"GET / HTTP/1.1\r\nHost: site.test\r\n"
                   b"Host: twin.test\r\n\r\n")
    assert b" 403 " in got
    assert arrived() == [], arrived()
    assert b" 200 " in in_ns(g, raw, SITE, 80,
                             get("site.test", "http://site.test/"))[0]


def upgraded(protocol):
    c = socket.create_connection((SITE, 80), 3)
    c.settimeout(3)
    c.sendall(get("site.test", "/upgrade",
                  f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n"))
    try:
        got = b""
        while b"\r\n\r\n" not in got:
            data = c.recv(65536)
            if not data:
                return got
            got += data
        c.sendall(get("twin.test"))
        return got, c.recv(65536)
    except OSError as e:
        return str(e)


@test(careless())
def n16_websockets_pass_and_other_upgrades_do_not(rig):
    g = guest(rig, names=("site.test",))
    got, echo = in_ns(g, upgraded, "websocket")
    assert b" 101 " in got and echo == get("twin.test")
    got = in_ns(g, upgraded, "h2c")
    assert b" 403 " in got[0] and b" 101 " not in got[0], got
    # Where it is not accepted nothing has changed.
    one, two = in_ns(g, two_requests,
                     get("site.test", "/", "Upgrade: websocket\r\n"),
                     get("twin.test"))
    assert b" 200 " in one and b" 403 " in two, (one, two)
