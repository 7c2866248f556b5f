# SPDX-License-Identifier: Apache-2.0
"""test_splice.py - connections that must say the name they are for (N14 to N16)

Behind "inet" is one more namespace, "web", with real TLS and HTTP servers: two
sites at one address and a third at another. They note what reaches them.
"""
import hashlib
import http.server
import itertools
import socketserver
import ssl
import threading

from harness import *

SITE, FAR = "203.0.113.20", "203.0.113.21"
WEB_LOG = "/run/web.log"
BOTH = "deny +site.test,verify +far.test,verify"
BIG = 20 << 20


# ---- the servers -----------------------------------------------------------

def note(text):
    with open(WEB_LOG, "a", encoding="latin1") as f:
        f.write(text + "\n")


def arrived():
    with open(WEB_LOG, encoding="latin1") as f:
        return f.read().split("\n")[:-1]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        note(f"http {self.headers.get('Host')} {self.path}")
        if self.path == "/upgrade":
            self.send_response(101)
            self.send_header("Upgrade", self.headers.get("Upgrade", ""))
            self.end_headers()
            self.close_connection = True
            while True:
                data = self.connection.recv(4096)
                if not data:
                    return
                note(f"raw {data!r}")
                self.connection.sendall(data)
        body = b"\0" * BIG if self.path == "/big" else b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        n = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(n)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    break
        body = hashlib.sha256(data).hexdigest().encode()
        note(f"http {self.headers.get('Host')} {self.path}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def server_bind(self):
        # HTTPServer's own asks DNS for its name, and waits for the answer.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "web", 80

    def handle_error(self, request, client_address):
        pass


def serve_tls(ctx):
    listener = socket.create_server(("0.0.0.0", 443), backlog=1024)

    def one(c):
        try:
            with ctx.wrap_socket(c, server_side=True) as s:
                while True:
                    data = s.recv(65536)
                    if not data:
                        break
                    if data == b"big":
                        s.sendall(b"\0" * BIG)
                    else:
                        s.sendall(data)
        except OSError:
            pass
    while True:
        c, _ = listener.accept()
        threading.Thread(target=one, args=(c,), daemon=True).start()


def web():
    enter("web")
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain("/run/web.pem")
    # Who offers another group is asked again: HelloRetryRequest.
    ctx.set_ecdh_curve("secp384r1")
    ctx.sni_callback = lambda s, name, c: note(f"tls {name}")
    threading.Thread(target=serve_tls, args=(ctx,), daemon=True).start()
    Server(("0.0.0.0", 80), Handler).serve_forever()


def set_up(rig):
    open(WEB_LOG, "w", encoding="ascii").close()
    if hasattr(rig, "web"):
        return
    rig.web = True
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
       "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-subj", "/CN=x",
       "-keyout", "/run/web.key", "-out", "/run/web.crt")
    sh("sh", "-c", "cat /run/web.key /run/web.crt >/run/web.pem")
    sh("ip", "netns", "add", "web")
    sh("ip", "-n", "inet", "link", "add", "web0", "type", "veth", "peer",
       "eth0", "netns", "web")
    sh("ip", "-n", "inet", "addr", "add", "198.51.101.1/24", "dev", "web0")
    sh("ip", "-n", "inet", "link", "set", "web0", "up")
    sh("ip", "-n", "web", "addr", "add", "198.51.101.2/24", "dev", "eth0")
    sh("ip", "-n", "web", "link", "set", "eth0", "up")
    sh("ip", "-n", "web", "link", "set", "lo", "up")
    sh("ip", "-n", "web", "route", "add", "default", "via", "198.51.101.1")
    sh("ip", "netns", "exec", "inet", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    for a in (SITE, FAR):
        sh("ip", "-n", "web", "addr", "add", f"{a}/32", "dev", "lo")
        sh("ip", "-n", "inet", "route", "add", a, "via", "198.51.101.2")
    pid = os.fork()
    if pid == 0:
        web()
    rig.pids.append(pid)
    for port in 80, 443:
        assert wait_for(lambda: in_ns("web", tcp, SITE, port, 0.5, b"x")[0]
                        != "refused")
    time.sleep(0.2)
    open(WEB_LOG, "w", encoding="ascii").close()


def guest(rig, policy=BOTH, names=("site.test", "far.test")):
    set_up(rig)
    g = rig.guest(0, 1, policy)
    for name in names:
        code, found, _ = in_ns(g, lookup, name)
        assert code == 0 and found, (name, code)
    return g


# ---- what guests send ------------------------------------------------------

def client():
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    return ctx


def tls(ip, name, data=b"hello", port=443):
    """What came back; or the error's text; and the seconds it took."""
    start = time.monotonic()
    try:
        with socket.create_connection((ip, port), 3) as c:
            with client().wrap_socket(c, server_hostname=name) as s:
                s.sendall(data)
                return s.recv(100), time.monotonic() - start
    except OSError as e:
        return f"{type(e).__name__} {e}", time.monotonic() - start


def raw(ip, port, *parts, wait=3.0, pause=0.0, end=False):
    """Send these; all that comes back until the end of the connection or, after
    an answer, 0.3 s of silence: "reset" and "timeout" are appended."""
    c = socket.create_connection((ip, port), 3)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    got, start = b"", time.monotonic()
    try:
        for p in parts:
            c.sendall(p)
            time.sleep(pause)
        if end:
            c.shutdown(socket.SHUT_WR)
        while True:
            c.settimeout(0.3 if got else wait)
            data = c.recv(65536)
            if not data:
                break
            got += data
    except (TimeoutError, socket.timeout):
        got += b"timeout"
    except OSError:
        got += b"reset"
    return got, time.monotonic() - start


def extension(kind, data):
    return struct.pack("!HH", kind, len(data)) + data


def sni(*names):
    entries = b"".join(b"\0" + struct.pack("!H", len(n)) + n for n in names)
    return extension(0, struct.pack("!H", len(entries)) + entries)


def hello(*extensions, versions=True, filler=0):
    """A Client Hello that a TLS 1.3 server answers by HelloRetryRequest."""
    ext = b"".join(extensions)
    if versions:
        ext += extension(43, b"\x02\x03\x04")
        ext += extension(10, b"\0\4\0\x1d\0\x18")
        ext += extension(13, b"\0\6\4\3\5\3\x08\x04")
        ext += extension(51, b"\0\x24\0\x1d\0\x20" + b"\x09" * 32)
    if filler:
        ext += extension(21, b"\0" * filler)
    body = b"\3\3" + b"\7" * 32 + b"\x20" + b"\5" * 32
    body += b"\0\2\x13\1" + b"\1\0" + struct.pack("!H", len(ext)) + ext
    return b"\1" + struct.pack("!I", len(body))[1:] + body


def records(message, size=16000):
    return b"".join(b"\x16\3\1" + struct.pack("!H", len(message[i:i + size]))
                    + message[i:i + size]
                    for i in range(0, len(message), size))


def is_alert(got):
    return got[:3] == b"\x15\3\1" and got[5:7] == b"\2\x31"


def is_server_hello(got):
    return got[:1] == b"\x16" and got[5:6] == b"\2"


def get(host, path="/", extra="", version="1.1", method="GET"):
    return (f"{method} {path} HTTP/{version}\r\nHost: {host}\r\n{extra}\r\n"
            ).encode()


def no_name_binding():
    """Guests' connections go on as if no rule wanted their names verified."""
    nft("insert rule inet sandboxd divert accept\n"
        "insert rule inet sandboxd from-guest tcp dport { 80, 443 } "
        "ct mark set 0x53420000 accept\n"
        "insert rule inet sandboxd to-guest accept")


def careless(how="careless"):
    """A splice that looks at nothing; that loses what goes on for long; that dies
    when a guest goes away."""
    return engine(splice=f"{HERE}/{how}_splice.py")


def denials(rig):
    return "" if rig.broken else rig.net.do("denials 0")


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
