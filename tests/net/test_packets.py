# SPDX-License-Identifier: Apache-2.0
"""test_packets.py - what a hostile guest sends, against the node's real rules

N1 to N10, N17 and N18: the sender, the shape, the destination, the number.
"""
import threading

from harness import *


# ---- N1 to N5: the sender and the shape of packets -------------------------

@test(without("guest", "!= @bind"))
def n01_a_spoofed_source_never_leaves(rig):
    g = allow_all(rig)
    good = ether(ipv4("10.200.0.2", "203.0.113.10", 17, marked_udp()))
    # (and the ICMP error of its kernel, which did not ask, for the answer)
    assert sent(rig, g, [good]) >= 1, "the rig does not see what passes"
    frames = []
    rng = random.Random(1)
    for _ in range(10000):
        mac, ip = GUEST_MAC, "10.200.0.2"
        if rng.random() < 0.6:
            mac = bytes([2]) + rng.randbytes(5)
        if mac == GUEST_MAC or rng.random() < 0.6:
            ip = socket.inet_ntoa(rng.randbytes(4))
        if rng.random() < 0.2:
            mac, ip = GUEST_MAC, f"10.200.0.{rng.randrange(3, 250)}"
        frames.append(ether(ipv4(ip, "203.0.113.10", 17, marked_udp()),
                            src=mac))
    assert sent(rig, g, frames) == 0


def arp(op, sha, spa, tpa):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, op, sha,
                       socket.inet_aton(spa), b"\0" * 6, socket.inet_aton(tpa))


@test(without("guest", "@bind", "arp"))
def n02_forged_arp_leaves_the_neighbours_as_they_are(rig):
    g = allow_all(rig)
    before = sh("ip", "neigh", "show", "dev", "sbx0")
    evil = bytes.fromhex("020000000666")
    frames = [ether(arp(1, evil, "10.200.0.2", GATEWAY), 0x0806),
              ether(arp(2, evil, GATEWAY, "10.200.0.2"), 0x0806),
              ether(arp(1, evil, "198.51.100.1", "198.51.100.1"), 0x0806)]
    frames += [ether(arp(1, GUEST_MAC, f"10.200.{i >> 8}.{i & 255}", GATEWAY),
                     0x0806) for i in range(256, 4000)]
    in_ns(g, send_frames, frames)
    time.sleep(0.2)
    assert sh("ip", "neigh", "show", "dev", "sbx0") == before


def answer_arp_for_all():
    delete_rules("guest", "arp daddr ip", "arp")
    with open("/proc/sys/net/ipv4/conf/sbx0/arp_ignore", "w",
              encoding="ascii") as f:
        f.write("0")


@test(kernel(answer_arp_for_all))
def n02_a_neighbours_address_is_not_answered_for(rig):
    """It may ask for the gateway and for nothing else."""
    names = [rig.guest(i, 1, "allow") for i in range(2)]

    def answers(target):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.bind(("eth0", 0x0806))
        s.settimeout(0.3)
        s.send(ether(arp(1, GUEST_MAC, "10.200.0.2", target), 0x0806,
                     dst=b"\xff" * 6))
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            try:
                data = s.recv(100)
            except OSError:
                return False
            if data[12:14] == b"\x08\x06" and data[20:22] == b"\0\2" and \
                    data[28:32] == socket.inet_aton(target):
                return True
        return False
    assert in_ns(names[0], answers, GATEWAY)
    for target in ("10.200.0.3", "198.51.100.2", "198.51.100.1", "8.8.8.8"):
        assert not in_ns(names[0], answers, target), target


def nd_router_advertisement():
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    # A prefix, so that an address is made of it.
    body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + \
        socket.inet_pton(socket.AF_INET6, "2001:db8:666::")
    src = socket.inet_pton(socket.AF_INET6, "fe80::666")
    dst = socket.inet_pton(socket.AF_INET6, "ff02::1")
    pseudo = src + dst + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + src + dst + body


def ipv6_on_tap():
    nft("flush chain inet sandboxd guest")
    nft("flush chain inet sandboxd input")
    for key, value in (("disable_ipv6", 0), ("accept_ra", 2)):
        with open(f"/proc/sys/net/ipv6/conf/sbx0/{key}", "w",
                  encoding="ascii") as f:
            f.write(str(value))
    assert wait_for(lambda: "tentative" not in
                    sh("ip", "-6", "addr", "show", "sbx0"), 4)


@test(kernel(ipv6_on_tap))
def n03_a_guest_that_plays_router_or_dhcp_server_changes_nothing(rig):
    g = allow_all(rig)
    rig.net.do("settle")

    def state():
        # Without the routes of taps that nobody has yet: they come and go.
        return re.sub(r"\w+ \d+sec|.* dev sbx\d+ .*linkdown.*\n", "",
                      sh("ip", "-6", "route") +
                      sh("ip", "-6", "addr", "show", "sbx0") +
                      sh("ip", "route"))
    before = state()
    ra = ether(nd_router_advertisement(), 0x86DD, src=b"\2\0\0\0\6\x66",
               dst=bytes.fromhex("333300000001"))
    offer = ether(ipv4("10.200.0.2", "255.255.255.255", 17,
                       udp_payload(67, 68, MARK)), dst=b"\xff" * 6)
    assert sent(rig, g, [ra, offer] * 20) == 0
    after = state()
    assert after == before, (before, after)


def udp6(dst):
    src = socket.inet_pton(socket.AF_INET6, "fd00::2")
    dst = socket.inet_pton(socket.AF_INET6, dst)
    payload = struct.pack("!4H", 4000, 9999, 8 + len(MARK), 0) + MARK
    pseudo = src + dst + struct.pack("!II", len(payload), 17)
    payload = payload[:6] + struct.pack("!H", checksum(pseudo + payload)) + \
        payload[8:]
    return struct.pack("!IHBB", 0x60000000, len(payload), 17, 64) + src + dst \
        + payload


def ipv6_routed():
    ipv6_on_tap()
    nft("insert rule inet sandboxd forward accept")


@test(kernel(ipv6_routed))
def n04_no_ipv6_passes_though_the_host_is_a_router(rig):
    g = allow_all(rig)
    mac = re.search(r"link/ether (\S+)",
                    sh("ip", "-n", "inet", "link", "show", "inet0"))[1]
    for key, value in (("all/forwarding", "1"),
                       ("up0/disable_ipv6", "0")):
        with open(f"/proc/sys/net/ipv6/conf/{key}", "w",
                  encoding="ascii") as f:
            f.write(value)
    sh("ip", "-6", "addr", "replace", "2001:db8:1::2/64", "dev", "up0", "nodad")
    sh("ip", "-6", "neigh", "replace", "2001:db8:1::1", "lladdr", mac, "dev",
       "up0", "nud", "permanent")
    sh("ip", "-6", "route", "replace", "default", "via", "2001:db8:1::1")
    try:
        tap = re.search(r"link/ether (\S+)", sh("ip", "link", "show", "sbx0"))[1]
        frames = [ether(udp6(dst), 0x86DD, dst=bytes.fromhex(
            tap.replace(":", ""))) for dst in
            ("2001:db8:9::1", "::ffff:203.0.113.10", "2002:cb00:710a::1",
             "64:ff9b::cb00:710a")]
        assert sent(rig, g, frames) == 0
    finally:
        sh("ip", "-6", "route", "del", "default", ok=False)
        sh("ip", "-6", "addr", "flush", "dev", "up0")


@test(without("default-allow", "deny-protocol"))
def n04_no_ipv6_passes_wrapped_in_ipv4(rig):
    g = allow_all(rig)
    teredo = ipv4("10.200.0.2", "203.0.113.10", 41, udp6("2001:db8::1"))
    assert sent(rig, g, [ether(teredo)] * 3) == 0


@test(without("guest", "0x5 "))
def n05_packets_with_options_never_leave(rig):
    g = allow_all(rig)
    f = ether(ipv4("10.200.0.2", "203.0.113.10", 17, marked_udp(),
                   options=b"\x83\x07\x04" + socket.inet_aton("10.1.1.1")
                   + b"\0"))
    f2 = ether(ipv4("10.200.0.2", "203.0.113.10", 17, marked_udp(),
                    options=b"\x94\x04\0\0"))
    assert sent(rig, g, [f, f2]) == 0


def fragments(data, cuts, ident):
    """IP fragments of @data at these places (multiples of 8)."""
    frames = []
    cuts = [*cuts, len(data)]
    for i in range(len(cuts) - 1):
        more = 0x2000 if i < len(cuts) - 2 else 0
        frames.append(ether(ipv4("10.200.0.2", "203.0.113.10", 17,
                                 data[cuts[i]:cuts[i + 1]],
                                 more | cuts[i] // 8, ident)))
    return frames


@test(accept_first("p0"))
def n05_a_port_in_the_second_fragment_is_judged_as_any_other(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10,udp,443")
    data = udp_payload(4000, 9999, MARK * 4)
    assert sent(rig, g, fragments(data, [0, 8], 7) +
                fragments(data, [0, 16, 24], 8)) == 0


@test(accept_first("p0"))
def n05_fragments_in_any_order_or_over_each_other_open_nothing(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10,udp,443")
    good = udp_payload(4000, 443, b"g" * 4 * len(MARK))
    evil = udp_payload(4000, 9999, MARK * 4)
    frames = list(reversed(fragments(evil, [0, 8, 32], 9)))
    # An allowed first fragment, and one that lies over it.
    over = fragments(good, [0, 24], 10)
    over.insert(1, ether(ipv4("10.200.0.2", "203.0.113.10", 17, evil[:24],
                              0x2000, 10)))
    # Never a first one, never a last one.
    alone = [ether(ipv4("10.200.0.2", "203.0.113.10", 17, evil[8:], 1, i))
             for i in range(11, 40)]
    assert sent(rig, g, frames + over + alone) == 0


# ---- N6 to N10: where it may go --------------------------------------------

def scan(ip, ports):
    """Those that answered a connection."""
    answered, pending = [], {}
    poll = select.poll()

    def finish(fd):
        s, port = pending.pop(fd)
        poll.unregister(fd)
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            answered.append(port)
        s.close()
    ports = iter(ports)
    more = True
    while more or pending:
        while more and len(pending) < 200:
            port = next(ports, None)
            if port is None:
                more = False
                break
            s = socket.socket()
            s.setblocking(False)
            e = s.connect_ex((ip, port))
            if e not in (0, 115):
                s.close()
                continue
            pending[s.fileno()] = (s, port)
            poll.register(s, select.POLLOUT)
        ready = poll.poll(3000) if pending else []
        for fd, _ in ready:
            finish(fd)
        if pending and not ready:
            for fd in list(pending):
                s, port = pending.pop(fd)
                poll.unregister(fd)
                s.close()
    return answered


def scan_udp(ip):
    """Ports that sent anything back, of all."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    s.settimeout(0.4)
    for port in range(1, 65536):
        try:
            s.sendto(b"anybody?", (ip, port))
        except OSError:
            pass  # an ICMP error for one before
    found = set()
    while True:
        try:
            found.add(s.recvfrom(2000)[1])
        except (TimeoutError, socket.timeout):
            return sorted(found)
        except OSError:
            continue


HOST_TCP = (22, 2222, 16509, 40000, 65535)
HOST_UDP = (67, 123, 161, 5353, 40000)


def host_services():
    poll = select.poll()
    socks = {}
    for port in HOST_TCP:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", port))
        s.listen(10)
        socks[-port] = s
    for port in HOST_UDP:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        s.bind(("0.0.0.0", port))
        socks[s.fileno()] = s
        poll.register(s, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            data, anc, _, peer = socks[fd].recvmsg(2000, 100)
            socks[fd].sendmsg([data], anc, 0, peer)


def tcp_listens(ip, port):
    s = socket.socket()
    try:
        s.connect((ip, port))
        return True
    except OSError:
        return False
    finally:
        s.close()


@test(kernel(open_host))
def n06_no_tcp_port_of_the_host_answers_but_dns(rig):
    g = allow_all(rig)
    with Background(None, host_services):
        assert wait_for(lambda: tcp_listens("198.51.100.2", 65535))
        assert in_ns(g, scan, GATEWAY, range(1, 65536)) == [53]
        assert in_ns(g, scan, "198.51.100.2", range(1, 65536)) == []


@test(kernel(open_host))
def n06_no_udp_port_of_the_host_answers(rig):
    g = allow_all(rig)
    with Background(None, host_services):
        assert wait_for(lambda: tcp_listens("198.51.100.2", 65535))
        for ip in (GATEWAY, "198.51.100.2"):
            assert in_ns(g, scan_udp, ip) == [], ip


def loopback_open():
    open_host()
    with open("/proc/sys/net/ipv4/conf/sbx0/route_localnet", "w",
              encoding="ascii") as f:
        f.write("1")


def tcp_syn(dst, port):
    """A frame with a SYN to there; and whether a SYN-ACK came back."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("eth0", 0x0800))
    s.settimeout(0.3)
    seg = struct.pack("!HHIIBBHHH", 4444, port, 1, 0, 0x50, 2, 8192, 0, 0)
    pseudo = socket.inet_aton("10.200.0.2") + socket.inet_aton(dst) + \
        struct.pack("!BBH", 0, 6, len(seg))
    seg = seg[:16] + struct.pack("!H", checksum(pseudo + seg)) + seg[18:]
    s.send(ether(ipv4("10.200.0.2", dst, 6, seg)))
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        try:
            data = s.recv(2000)
        except OSError:
            return False
        if len(data) > 47 and data[23] == 6 and data[47] & 0x12 == 0x12 and \
                data[34:36] == struct.pack("!H", port):
            return True
    return False


@test(kernel(loopback_open))
def n06_the_hosts_loopback_is_not_reached_by_a_frame_to_it(rig):
    g = allow_all(rig)
    with Background(None, host_services):
        assert wait_for(lambda: tcp_listens("127.0.0.1", 65535))
        assert not in_ns(g, tcp_syn, "127.0.0.1", 22)


HARD = ["169.254.169.254", "100.100.100.200", "168.63.129.16", "10.1.1.1",
        "192.168.7.7"]


@test(flush("map", "hard"))
def n07_metadata_and_private_ranges_are_refused_even_if_allowed(rig):
    for policy in ("allow", "deny +0.0.0.0/0", "allow +10.0.0.0/8"):
        g = rig.guest(0, 1, policy)
        for ip in HARD:
            what, _ = in_ns(g, tcp, ip, 80)
            assert what == "refused", f"{policy}: {ip}: {what}"
            # The kernel sends a guest few ICMP errors a second: not always
            # at once.
            assert in_ns(g, udp, ip, 9999, 0.2) != "open", ip
    frames = [ether(ipv4("10.200.0.2", ip, 17, marked_udp()))
              for ip in ("224.0.0.251", "239.1.2.3", "255.255.255.255",
                         "240.0.0.1", "0.0.0.0")]
    assert sent(rig, g, frames) == 0


@test(flush("set", "permitted"))
def n07_a_permitted_private_range_needs_a_rule_that_names_it(rig):
    g = allow_all(rig)
    assert in_ns(g, tcp, "10.9.0.5", 80)[0] == "refused"
    g = rig.guest(0, 1, "allow +10.9.0.0/16,tcp,80")
    assert in_ns(g, tcp, "10.9.0.5", 80)[0] == "open"
    g = allow_all(rig)
    assert in_ns(g, tcp, "10.9.0.5", 80)[0] == "refused"


def serve_in_each(names):
    socks = []
    for name in names:
        enter(name)
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", 7000))
        s.listen(50)
        socks.append(s)
    signal.pause()


def open_guests():
    nft("flush map inet sandboxd hard")
    delete_rules("forward", "deny-guests")
    nft("insert rule inet sandboxd forward accept")


@test(kernel(open_guests))
def n08_no_guest_reaches_another_of_twenty(rig):
    names = [rig.guest(i, 1, "allow +0.0.0.0/0") for i in range(20)]
    with Background(None, serve_in_each, names):
        assert wait_for(lambda: in_ns(names[-1], tcp_listens, "10.200.0.21",
                                      7000))

        def reach(me):
            return [i for i in range(20) if i != me and
                    in_ns(None, tcp, f"10.200.0.{i + 2}", 7000, 0.5)[0] in
                    ("open", "timeout", "closed")]
        for me, name in enumerate(names):
            assert in_ns(name, reach, me) == [], name


def open_hairpin():
    open_host()
    open_guests()


@test(kernel(open_hairpin))
def n08_a_port_forward_of_the_host_is_no_way_to_a_guest(rig):
    names = [rig.guest(i, 1, "allow") for i in range(2)]
    sh("ip", "-n", "inet", "route", "replace", "10.200.0.0/16", "via",
       "198.51.100.2")
    # Another program's: to the second guest, from wherever.
    nft("table ip forwards {\nchain pre {\n"
        "type nat hook prerouting priority -100\n"
        "ip daddr 198.51.100.2 tcp dport 7000 dnat to 10.200.0.3\n}\n}\n")
    try:
        with Background(None, serve_in_each, names):
            assert wait_for(lambda: in_ns(names[1], tcp_listens, "10.200.0.3",
                                          7000))
            got = {"hairpin": in_ns(names[0], tcp, "198.51.100.2", 7000, 0.5),
                   "forward": in_ns("inet", tcp, "198.51.100.2", 7000, 0.5),
                   "route": in_ns("inet", tcp, "10.200.0.3", 7000, 0.5)}
            # "closed" is: connected, and nobody speaks.
            assert all(v[0] in ("refused", "prohibited", "timeout") and
                       not in_ns("inet" if k != "hairpin" else names[0],
                                 tcp_connects, "198.51.100.2" if k != "route"
                                 else "10.200.0.3", 7000)
                       for k, v in got.items()), got
    finally:
        sh("nft", "delete", "table", "ip", "forwards", ok=False)


def tcp_connects(ip, port):
    s = socket.socket()
    s.settimeout(0.5)
    try:
        s.connect((ip, port))
        return True
    except OSError:
        return False
    finally:
        s.close()


@test(accept_first("p0"))
def n09_an_allowed_address_is_open_on_its_ports_only(rig):
    g = rig.guest(0, 1, "deny +203.0.113.10,tcp,443 +203.0.113.53,8000-9000")
    assert in_ns(g, tcp, "203.0.113.10", 443)[0] == "open"
    assert in_ns(g, tcp, "203.0.113.53", 8080)[0] == "open"
    for ip, port in (("203.0.113.10", 80), ("203.0.113.10", 22),
                     ("203.0.113.11", 443), ("203.0.113.53", 9999)):
        what, seconds = in_ns(g, tcp, ip, port)
        assert what == "refused", (ip, port, what, seconds)
    assert in_ns(g, udp, "203.0.113.10", 443) != "open"
    assert in_ns(g, scan, "203.0.113.10", range(1, 65536)) == [443]


def every_protocol(dst):
    return [ether(ipv4("10.200.0.2", dst, p, b"\x08\0\0\0\0\1\0\1" + MARK))
            for p in range(256) if p not in (6, 17)]


@test(accept_first("default-allow"))
def n10_only_tcp_and_udp_leave_by_default(rig):
    g = allow_all(rig)
    assert sent(rig, g, every_protocol("203.0.113.10")) == 0


@test(accept_first("p0"))
def n10_only_tcp_and_udp_leave_for_an_address_that_is_allowed(rig):
    g = rig.guest(0, 1, "deny +203.0.113.0/24,any")
    assert sent(rig, g, every_protocol("203.0.113.10")) == 0


# ---- N17, N18: exhaustion --------------------------------------------------

def open_many(ip, port, count):
    socks, opened = [], 0
    for _ in range(count):
        s = socket.socket()
        s.settimeout(1)
        try:
            s.connect((ip, port))
            opened += 1
            socks.append(s)
        except OSError:
            s.close()
    return opened


def limited(rig, connections=0, mbps=0, pps=0):
    rig.net.do(f"limits {connections} {mbps} {pps}")


@test(without("c0", "ct count"))
def n17_a_guest_holds_only_so_many_connections(rig):
    limited(rig, connections=50)
    g = allow_all(rig)
    opened = in_ns(g, open_many, "203.0.113.10", 80, 120)
    assert 40 <= opened <= 50, opened


def conntrack_entries():
    with open("/proc/sys/net/netfilter/nf_conntrack_count",
              encoding="ascii") as f:
        return int(f.read())


@test(without("c0", "ct count"))
def n17_a_flood_of_flows_leaves_the_hosts_table_to_others(rig):
    count = int(os.environ.get("FLOOD", "30000"))
    limited(rig, connections=200)
    g = allow_all(rig)
    limited(rig)
    other = rig.guest(1, 1, "allow")
    before = conntrack_entries()
    frames = [ether(ipv4("10.200.0.2", "203.0.113.10", 17,
                         udp_payload(1024 + n % 60000, 10000 + n // 60000,
                                     b"flood"))) for n in range(count)]
    with Background(g, send_frames, frames):
        for _ in range(20):
            assert in_ns(other, tcp, "203.0.113.10", 80)[0] == "open"
            now = conntrack_entries() - before
            # The other's, and replies to nobody.
            assert now <= 200 + 40, now
    in_ns(g, send_frames, frames)
    now = conntrack_entries() - before
    assert now <= 200 + 40, now


@test(accept_first("p0"))
def n17_refused_and_dns_packets_make_no_conntrack_entry(rig):
    g = rig.guest(0, 1, "deny +203.0.113.53")
    before = conntrack_entries()
    frames = [ether(ipv4("10.200.0.2", "203.0.113.10", 17,
                         udp_payload(5000 + n, 9999, b"x")))
              for n in range(500)]
    in_ns(g, send_frames, frames)
    in_ns(g, scan, "10.1.1.1", range(1, 300))
    for _ in range(20):
        in_ns(g, lookup, "other.test")
    assert conntrack_entries() <= before + 5, (before, conntrack_entries())


# What a bucket of the kernel's holds from the start: of bytes a second's worth, of
# packets what the rule says. So these hold on any machine, however slow.

def bytes_at_most(mbps, seconds):
    return mbps * 125_000 * (seconds + 1)


def packets_at_most(pps, seconds):
    return pps * seconds + pps // 10 + 16


@test(flush("set", "packets-from"))
def n18_a_flood_of_packets_is_cut_to_the_guests_rate(rig):
    limited(rig, pps=500)
    g = allow_all(rig)
    frame = ether(ipv4("10.200.0.2", "203.0.113.10", 17, marked_udp()))
    start = time.monotonic()
    passed = sent(rig, g, [frame] * 5000)
    seconds = time.monotonic() - start
    assert 0 < passed <= packets_at_most(500, seconds), (passed, seconds)


def bulk(direction, ip, seconds):
    """Bytes that came back from a server that echoes, and in how long."""
    start = time.monotonic()
    s = socket.create_connection((ip, 80), 3)
    s.settimeout(0.5)
    end = time.monotonic() + seconds
    got = 0
    stop = threading.Event()

    def push():
        try:
            while not stop.is_set():
                s.sendall(b"x" * 4096)
        except OSError:
            pass
    t = threading.Thread(target=push, daemon=True)
    t.start()
    while time.monotonic() < end:
        try:
            got += len(s.recv(65536))
        except OSError:
            pass
    stop.set()
    return got, time.monotonic() - start


@test(kernel(lambda: nft("flush set inet sandboxd bytes-from\n"
                         "flush set inet sandboxd bytes-to\n")))
def n18_bandwidth_is_cut_and_a_neighbour_does_not_feel_it(rig):
    limited(rig, mbps=2)
    g = allow_all(rig)
    limited(rig)
    other = rig.guest(1, 1, "allow")
    with Background(g, bulk, "both", "203.0.113.11", 30):
        late = [t for what, t in (in_ns(other, tcp, "203.0.113.10", 80)
                                  for _ in range(20)) if what == "open"]
        assert len(late) == 20
    got, seconds = in_ns(g, bulk, "both", "203.0.113.10", 1.5)
    assert 0 < got <= bytes_at_most(2, seconds), (got, seconds)
    frame = ether(ipv4("10.200.0.2", "203.0.113.10", 17,
                       udp_payload(4001, 9999, MARK + b"x" * 1350)))
    start = time.monotonic()
    passed = sent(rig, g, [frame] * 2000)
    seconds = time.monotonic() - start
    assert passed * 1400 <= bytes_at_most(2, seconds), (passed, seconds)
