# SPDX-License-Identifier: Apache-2.0
"""bench_guest.py - commands and files in a guest, beside ssh, scp and qemu-ga

Two guests of the same kind: a sandbox, and one of libvirt alone with sshd and
qemu-ga (bench_peer.py). One works at a time.
"""
import json
import os
import re

from bench_lib import CTL, MIB, client, clock, run, say
from bench_peer import Libvirtd, Peer


def virsh_qga(peer):
    def ask(command, **arguments):
        text = json.dumps({"execute": command, "arguments": arguments})
        out = peer.libvirtd.virsh("qemu-agent-command", peer.name, text).stdout
        return json.loads(out)["return"]

    pid = ask("guest-exec", path="/bin/true")["pid"]
    while not ask("guest-exec-status", pid=pid)["exited"]:
        pass


def bench_exec(bench, sandbox, peer):
    ours, ctl, fresh, kept, qga, virsh = [], [], [], [], [], []
    peer.qga.connect()
    run(*peer.kept, "true")
    for _ in bench.rounds(bench.count, "exec"):
        ours += client("exec", sandbox, 6)["exec_ms"][1:]
        qga += [clock(peer.qga.true) for _ in range(5)]
        ctl.append(clock(lambda: bench.node.exec(sandbox, "true")))
        kept.append(clock(lambda: run(*peer.kept, "true")))
        fresh.append(clock(lambda: run(*peer.fresh, "true")))
        virsh.append(clock(lambda: virsh_qga(peer)))
    peer.close_master()
    bench.report("exec", "`true`, a kept connection",
                 "the call's start to its exit status", ours,
                 [("guest agent, its socket kept open", qga)],
                 us="gRPC, kept connection")
    bench.report("exec", "`true`, by a program",
                 "process start, command, exit", ctl,
                 [("ssh, fresh", fresh), ("ssh, kept master connection", kept),
                  ("guest agent, virsh", virsh)], us="sandboxctl exec")


def same(a, b):
    run("cmp", "-s", a, b)


def bench_copy(bench, sandbox, peer, mib, rounds):
    name = os.path.join(bench.work, f"data{mib}")
    back, far = name + ".back", f"/tmp/data{mib}"
    with open(name, "wb") as f:
        for _ in range(mib):
            f.write(os.urandom(MIB))
    up, down, sup, sdown = [], [], [], []
    for _ in bench.rounds(rounds, f"{mib} MiB"):
        up.append(clock(lambda: run(CTL, "cp", name, f"{sandbox}:{far}")))
        sup.append(clock(lambda: run(*peer.scp, name,
                                     f"root@{peer.host}:{far}")))
        down.append(clock(lambda: run(CTL, "cp", f"{sandbox}:{far}", back)))
        same(name, back)
        sdown.append(clock(lambda: run(*peer.scp, f"root@{peer.host}:{far}",
                                       back)))
        same(name, back)
    bench.node.exec(sandbox, "rm", "-f", far)
    run(*peer.fresh, f"rm -f {far}")
    inside = "process start to exit, whole file, compared after"
    bench.report("files", f"write {mib} MiB", inside, up, [("scp", sup)],
                 us="sandboxctl cp")
    bench.report("files", f"read {mib} MiB", inside, down, [("scp", sdown)],
                 us="sandboxctl cp")


def bench_output(bench, sandbox, peer, rounds):
    ours, peers = [], []
    output = ["head", "-c", "100000000", "/dev/zero"]
    for _ in bench.rounds(rounds, "output"):
        ours.append(clock(lambda: bench.node.exec(sandbox, *output,
                                                  stdout=-3)))
        peers.append(clock(lambda: run(*peer.fresh, " ".join(output),
                                       stdout=-3)))
    bench.report("files", "100 MB of a command's output",
                 "process start to exit", ours, [("ssh", peers)],
                 us="sandboxctl exec")


def bench_memory(bench):
    """Of the daemon's processes, with this one sandbox; and what of it is no
    other process's too, as libraries are."""
    pids = [bench.node.pid] + \
        [int(p) for p in run("pgrep", "-P", bench.node.pid).stdout.split()]
    total, own, texts = 0, 0, []
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            own += sum(map(int, re.findall(r"Private_\w+:\s*(\d+)",
                                           f.read())))
        with open(f"/proc/{pid}/status") as f:
            text = f.read()
        rss = int(re.search(r"VmRSS:\s*(\d+)", text).group(1))
        texts.append(f"{text.split()[1]} {rss} KiB")
        total += rss
    bench.note("exec", "resident memory with one sandbox",
               f"{total} KiB: " + ", ".join(texts) +
               f"; their own {own} KiB", total_kib=total, own_kib=own)


def run_guest_parts(bench, parts):
    node = bench.start_node()
    bench.part("exec and files: getting ready")
    sandbox = node.create()
    peer = Peer(bench, Libvirtd(bench, "peer"), 0)
    bench.closers.append(peer.close)
    peer.start()
    try:
        if "exec" in parts:
            bench.part("exec")
            bench_exec(bench, sandbox, peer)
            bench_memory(bench)
        if "files" in parts:
            bench.part("files")
            bench_copy(bench, sandbox, peer, 1, bench.count)
            # An emulated guest's ssh takes a minute for it.
            bench_copy(bench, sandbox, peer, 256, min(3, bench.count // 5))
            bench_output(bench, sandbox, peer, max(3, bench.count // 4))
    finally:
        say("ending the two guests")
        node.terminate(sandbox)
        bench.closers.remove(peer.close)
        peer.close()
