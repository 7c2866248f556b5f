# SPDX-License-Identifier: Apache-2.0
"""web.py - sites to reach by their names, and what guests send to them

Behind "inet" is one more namespace, "web", with real TLS and HTTP servers: two
sites at one address and a third at another. They note what reaches them.
"""
import hashlib
import http.server
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
