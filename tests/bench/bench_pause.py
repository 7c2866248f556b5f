# SPDX-License-Identifier: Apache-2.0
"""bench_pause.py - a guest to disk and back, beside what libvirt has

The guests hold the same random data. Sandboxes always fsync before they answer;
of the peers both is told, the command alone and with a sync of its file.
"""
import os
import statistics

from bench_lib import MIB, client, clock, run
from bench_peer import Libvirtd, Peer, WRITER

SIZES_MIB = [0, 16, 64, 256]
POOL = ["pool.min=2", "pool.max=4"]
NO_POOL = ["pool.min=0", "pool.max=0"]


class Times:
    """What one way of saving took, round by round."""

    def __init__(self, name):
        self.name = name
        self.save, self.durable, self.back, self.size = [], [], [], []


def sync(path):
    run("sync", path)


def save_and_back(peer, times, zstd=False):
    saved = peer.saved

    def whole():
        peer.save()
        if zstd:
            run("zstd", "-q", "-1", "-T0", "--rm", "-f", saved, "-o",
                saved + ".zst")

    def back():
        if zstd:
            run("zstd", "-q", "-d", "-f", saved + ".zst", "-o", saved)
        peer.restore()

    times.save.append(clock(whole))
    path = saved + (".zst" if zstd else "")
    times.durable.append(times.save[-1] + clock(sync, path))
    times.size.append(os.stat(path).st_blocks * 512)
    times.back.append(clock(back))
    for p in (saved, saved + ".zst"):
        if os.path.exists(p):
            os.unlink(p)


def memory_snapshot(peer, times):
    path = os.path.join(peer.dir, "snapshot.mem")

    def whole():
        peer.libvirtd.virsh("snapshot-create-as", peer.name, "--no-metadata",
                            "--memspec", f"file={path},snapshot=external",
                            "--diskspec", "vda,snapshot=no")

    times.save.append(clock(whole))
    times.durable.append(times.save[-1] + clock(sync, path))
    times.size.append(os.stat(path).st_blocks * 512)
    os.unlink(path)


def pause_once(sandbox, times):
    out = client("pause", sandbox, 1)
    times.save += out["pause_ms"]
    times.size += out["snapshot_bytes"]
    times.back += out["resume_ms"]


def write_in_sandbox(bench, sandbox, mib):
    if mib:
        bench.node.exec(sandbox, "sh", "-c",
                        "python3 -c \"$0\" $1 >/tmp/w 2>&1 & "
                        "until grep -q written /tmp/w; do sleep 0.05; done",
                        WRITER, str(mib))


def report_size(bench, mib, ours, pooled, peers, cold):
    name = f"{mib} MiB written"
    bench.report("pause", f"pause, {name}",
                 "PauseSandbox to its answer, durable", ours.save,
                 [(t.name, t.save) for t in peers] +
                 [(t.name + ", sync", t.durable) for t in peers])
    back = [(t.name, t.back) for t in peers if t.back]
    if cold:
        back.append(("virsh create, cold boot", cold))
    bench.report("pause", f"resume, {name}, empty pool",
                 "the command to the end of the first exec", ours.back, back)
    bench.report("pause", f"resume, {name}, warm pool",
                 "the command to the end of the first exec", pooled.back, back)
    sizes = {t.name: statistics.median(t.size) for t in [ours] + peers}
    bench.note("pause", f"on disk, {name}",
               ", ".join(f"{k} {v / MIB:.1f} MiB" for k, v in sizes.items()),
               bytes=sizes)


def bench_size(bench, raw_peer, lzop_peer, mib):
    node = bench.node
    node.restart("guest.templates=yes", *NO_POOL)
    sandbox = node.create()
    write_in_sandbox(bench, sandbox, mib)
    cold = [raw_peer.start()]
    lzop_peer.start()
    for peer in (raw_peer, lzop_peer):
        peer.write_mib(mib)
        peer.close_master()
    ours, pooled = Times("sandboxd"), Times("sandboxd, warm pool")
    raw, lzop = Times("virsh save, raw"), Times("virsh save, lzop")
    zstd = Times("virsh save, raw, then zstd -1 -T0")
    memory = Times("virsh snapshot-create-as, memory")
    for _ in bench.rounds(bench.count, f"pause, {mib} MiB"):
        pause_once(sandbox, ours)
        save_and_back(raw_peer, raw)
        save_and_back(lzop_peer, lzop)
        pause_once(sandbox, ours)
        save_and_back(raw_peer, zstd, zstd=True)
        memory_snapshot(raw_peer, memory)
    for peer in (raw_peer, lzop_peer):
        peer.destroy()
    node.restart("guest.templates=yes", *POOL)
    for _ in bench.rounds(bench.count, f"resume, {mib} MiB, pool"):
        node.wait_pool(2)
        pause_once(sandbox, pooled)
    node.terminate(sandbox)
    report_size(bench, mib, ours, pooled, [raw, lzop, zstd, memory], cold)


def run_pause(bench):
    bench.start_node(*NO_POOL)
    bench.part("pause")
    raw = Peer(bench, Libvirtd(bench, "peer-raw"), 0)
    lzop = Peer(bench, Libvirtd(bench, "peer-lzop",
                                'save_image_format = "lzop"'), 1)
    bench.closers += [raw.close, lzop.close]
    mib = bench.options["mib"]
    for mib in SIZES_MIB if mib is None else [mib]:
        bench.part(f"pause: {mib} MiB written")
        bench_size(bench, raw, lzop, mib)
    for peer in (raw, lzop):
        bench.closers.remove(peer.close)
        peer.close()
