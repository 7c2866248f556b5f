#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""careless_splice.py - stands in for sandboxd-splice, and looks at nothing

It says of every connection what the engine wants to hear and passes all of it
on: so a test of what the splice refuses must fail with it. What the engine and
the packet filter refuse they still do.
"""
import os
import socket
import struct
import threading

NAMES = {"203.0.113.20": "site.test", "203.0.113.21": "far.test"}
ORIGINAL_DST = 80
engine = socket.socket(fileno=3)
engine.setblocking(True)
waiting, lock = {}, threading.Lock()


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def fields(data):
    """Numbers and bytes by field; enough for these messages."""
    found, at = {}, 0

    def number():
        nonlocal at
        v = shift = 0
        while True:
            c = data[at]
            at += 1
            v |= (c & 127) << shift
            shift += 7
            if c < 128:
                return v
    while at < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        else:
            n = {2: None, 5: 4, 1: 8}[key & 7]
            n = number() if n is None else n
            value = data[at:at + n]
            at += n
        found[key >> 3] = value
    return found


def ask(number, peer, to, port):
    slot = struct.unpack("!I", socket.inet_aton(peer))[0] - first
    ifindex = socket.if_nametoindex(f"sbx{slot}")
    name = NAMES.get(to, "site.test").encode()
    body = b"\x08" + varint(number) + b"\x10" + varint(slot) + b"\x18" + \
        varint(ifindex) + b"\x25" + socket.inet_aton(to)[::-1] + b"\x28" + \
        varint(port) + b"\x32" + varint(len(name)) + name
    with lock:
        engine.send(b"\0\x0a" + varint(len(body)) + body)


# What lossy_splice.py and fragile_splice.py change.
LOSES_AFTER = None
DIES_OF_RESETS = False


def relay(a, b):
    passed = 0
    try:
        while True:
            data = a.recv(65536)
            passed += len(data)
            if LOSES_AFTER and passed > LOSES_AFTER:
                passed, data = 0, data[1:]
            if not data:
                break
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        if DIES_OF_RESETS:
            os._exit(1)
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def accept(listener):
    for number in range(1, 1 << 30):
        c, peer = listener.accept()
        raw = c.getsockopt(socket.IPPROTO_IP, ORIGINAL_DST, 16)
        port, to = struct.unpack("!H", raw[2:4])[0], socket.inet_ntoa(raw[4:8])
        waiting[number] = c
        ask(number, peer[0], to, port)



def run():
    global first
    while True:
        data, fds, _, _ = socket.recv_fds(engine, 70000, 8)
        if not data:
            os._exit(0)
        command = fields(data[1:])
        if 1 in command:
            first = struct.unpack("<I", fields(command[1])[1])[0]
            server = socket.socket(fileno=fds[0])
            server.setblocking(True)
            threading.Thread(target=accept, args=(server,), daemon=True).start()
        elif 2 in command:
            guest = waiting.pop(fields(command[2])[1])
            if not fds:
                guest.close()
                continue
            up = socket.socket(fileno=fds[0])
            up.setblocking(True)
            for pair in ((guest, up), (up, guest)):
                threading.Thread(target=relay, args=pair, daemon=True).start()


if __name__ == "__main__":
    run()
