#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""internet.py - what guests of net.sh find outside

usage: internet.py DIR	(in a network namespace; DIR has cert.pem and www/)

Serves DNS on 203.0.113.53, and on every other address of the namespace the
mirrors below www/: files, a bare git repository, an npm registry and a Python
package index, on port 80 and, with TLS, on 443. Says "ready" and never returns.
"""
import hashlib
import http.server
import io
import json
import os
import socket
import ssl
import struct
import sys
import tarfile
import threading

ZONE = {"files.mirror.test": "203.0.113.10", "git.mirror.test": "203.0.113.10",
        "npm.mirror.test": "203.0.113.10", "pypi.mirror.test": "203.0.113.11",
        "blocked.test": "203.0.113.11", "other.test": "203.0.113.11"}


def wire_end(msg, at):
    while msg[at]:
        at += 1 + msg[at]
    return at + 1


def answer(msg):
    end = wire_end(msg, 12)
    labels, at = [], 12
    while msg[at]:
        labels.append(msg[at + 1:at + 1 + msg[at]].decode("latin1"))
        at += 1 + msg[at]
    address = ZONE.get(".".join(labels).lower())
    kind = struct.unpack("!H", msg[end:end + 2])[0]
    records = b""
    if address and kind == 1:
        records = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 30, 4) + \
            socket.inet_aton(address)
    return msg[:2] + struct.pack("!5H", 0x8180 if address else 0x8183, 1,
                                 1 if records else 0, 0, 0) + \
        msg[12:end + 4] + records


def dns():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("203.0.113.53", 53))
    while True:
        msg, peer = s.recvfrom(4096)
        try:
            s.sendto(answer(msg), peer)
        except (IndexError, struct.error):
            pass


def package():
    """tiny-1.0.0.tgz as npm has it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in (("package.json", json.dumps(
                {"name": "tiny", "version": "1.0.0", "main": "index.js"})),
                ("index.js", "module.exports = 42\n")):
            info = tarfile.TarInfo("package/" + name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


TINY = package()
WHEEL = b"PK-not-really-a-wheel" * 1000


def npm(base):
    return json.dumps({
        "name": "tiny", "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {
            "name": "tiny", "version": "1.0.0", "main": "index.js",
            "dist": {"tarball": f"{base}/tiny/-/tiny-1.0.0.tgz",
                     "shasum": hashlib.sha1(TINY).hexdigest()}}}}).encode()


class Mirror(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        tls = isinstance(self.connection, ssl.SSLSocket)
        base = f"http{'s' if tls else ''}://{self.headers.get('Host')}"
        body, kind = {
            "/tiny": (npm(base), "application/json"),
            "/tiny/-/tiny-1.0.0.tgz": (TINY, "application/octet-stream"),
            "/simple/tiny/": (
                b'<a href="/wheels/tiny-1.0.0.whl#sha256='
                + hashlib.sha256(WHEEL).hexdigest().encode()
                + b'">tiny-1.0.0.whl</a>', "text/html"),
            "/wheels/tiny-1.0.0.whl": (WHEEL, "application/octet-stream"),
        }.get(self.path, (None, None))
        if body is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def echo():
    listener = socket.create_server(("0.0.0.0", 7777))

    def one(c):
        try:
            while data := c.recv(4096):
                c.sendall(data)
        except OSError:
            pass
    while True:
        c, _ = listener.accept()
        threading.Thread(target=one, args=(c,), daemon=True).start()


def main():
    root = sys.argv[1]
    os.chdir(os.path.join(root, "www"))
    servers = [http.server.ThreadingHTTPServer(("0.0.0.0", port), Mirror)
               for port in (80, 443)]
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(os.path.join(root, "cert.pem"))
    servers[1].socket = ctx.wrap_socket(servers[1].socket, server_side=True,
                                        do_handshake_on_connect=False)
    for fn in (dns, echo, *(s.serve_forever for s in servers)):
        threading.Thread(target=fn, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
