# SPDX-License-Identifier: Apache-2.0
"""bench_create.py - how a guest comes up, and what an idle one costs

All end with the first command's exit. What the node is told by its configuration
(templates, pool) needs a restart of the daemon, which is outside of every clock.
"""
import json
import re
import time

from bench_lib import CTL, IMAGE, MEMORY_MIB, client, clock, run, spread
from bench_peer import Libvirtd, Peer

POOL = ["pool.min=2", "pool.max=4"]
NO_POOL = ["pool.min=0", "pool.max=0"]
IDLE = 6


def started(bench, kinds, kind):
    out = client("create", IMAGE, 1, BENCH_MEMORY=MEMORY_MIB)
    at = kinds.setdefault(kind, {"create": [], "first": [], "how": set()})
    at["create"] += out["create_ms"]
    at["first"] += out["first_exec_ms"]
    at["how"] |= set(out["start_kind"])


def agent_alone(bench):
    """What an exec costs in a guest that is up: the agent's own time."""
    sandbox = bench.node.create()
    ms = client("exec", sandbox, 20)["exec_ms"][1:]
    bench.node.terminate(sandbox)
    return ms


def bench_starts(bench):
    kinds, cold_peer = {}, []
    peer = Peer(bench, Libvirtd(bench, "peer-create"), 0)
    for _ in bench.rounds(max(2, bench.count // 5), "create"):
        bench.node.restart("guest.templates=no", *NO_POOL)
        for _ in range(5):
            started(bench, kinds, "cold")
            peer.new_disk()
            cold_peer.append(clock(peer.boot))
            peer.destroy()
        bench.node.restart("guest.templates=yes", *NO_POOL)
        # The first builds the template, or takes what a pool left.
        while client("create", IMAGE, 1, BENCH_MEMORY=MEMORY_MIB
                     )["start_kind"] != ["template"]:
            pass
        for _ in range(5):
            started(bench, kinds, "template")
        bench.node.restart("guest.templates=yes", *POOL)
        client("create", IMAGE, 1, BENCH_MEMORY=MEMORY_MIB)
        for _ in range(5):
            bench.node.wait_pool(2)
            started(bench, kinds, "pool")
    peer.close()
    ready = agent_alone(bench)
    inside = "CreateSandbox to the end of the first exec"
    cold = kinds["cold"]["first"]
    virsh = "virsh create, same image, to an exec"
    bench.report("create", "cold boot", inside, cold, [(virsh, cold_peer)])
    for kind, name in (("template", "from a template, empty pool"),
                       ("pool", "from the warm pool")):
        at = kinds[kind]
        bench.report("create", name, inside, at["first"],
                     [("our own cold boot", cold), (virsh, cold_peer)])
        bench.note("create", "of which CreateSandbox",
                   f"{spread(at['create'])['median']:.0f} ms; started as "
                   f"{', '.join(sorted(at['how']))}",
                   create_ms=spread(at["create"]))
    bench.report("create", "an exec in a guest that is up",
                 "the call, kept connection", ready)


def bench_at_once(bench, n, sets, name):
    bench.node.restart("guest.templates=yes", *sets)
    client("create", IMAGE, 1, BENCH_MEMORY=MEMORY_MIB)
    if "pool.min=0" not in sets:
        bench.node.wait_pool(n)
    out = client("rate", "start", IMAGE, n, 1, BENCH_MEMORY=MEMORY_MIB)
    bench.report("create", f"{n} at once, {name}",
                 "each: CreateSandbox to the end of the first exec", out["ms"])
    bench.note("create", "all of them", f"{out['wall_ms']:.0f} ms",
               wall_ms=out["wall_ms"])


# ---- memory ----

def classify(name, perms, ram):
    if name.endswith(ram):
        return "guest RAM (template mapped)"
    if name.startswith("/memfd:tcg") or "x" in perms and (
            not name or name.startswith("/memfd")):
        return "QEMU's translated code"
    if name.startswith("/"):
        return "programs and libraries"
    return "QEMU's heap and stacks"


def pss_of(pid):
    """{class: (PSS, what is private)} in KiB of one process."""
    found, now = {}, None
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            m = re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+\s*(.*)", line)
            if m:
                now = classify(m.group(2).strip(), m.group(1), "template.ram")
                continue
            key, _, value = line.partition(":")
            if key in ("Pss", "Private_Dirty", "Private_Clean"):
                at = found.setdefault(now, [0, 0])
                at[key != "Pss"] += int(value.split()[0])
    return found


def bench_idle(bench):
    node = bench.node
    node.restart("guest.templates=yes", *NO_POOL)
    made, sums = [], []
    for _ in bench.rounds(IDLE, "idle guests"):
        made.append(node.create())
        client("exec", made[-1], 1)
        time.sleep(3)
        sums.append(sum(p for q in node.qemus().values()
                        for p, _ in pss_of(q).values()))
    split = {}
    for pid in node.qemus().values():
        for name, (pss, private) in pss_of(pid).items():
            at = split.setdefault(name, [0, 0])
            at[0] += pss
            at[1] += private
    for sandbox in made:
        node.terminate(sandbox)
    further = [(b - a) / 1024 for a, b in zip(sums, sums[1:])]
    bench.report("create", "memory of a further idle guest",
                 f"PSS of all QEMUs together, {IDLE} guests one after "
                 "another, each after one exec and 3 s", further, unit="MiB")
    for name, (pss, private) in sorted(split.items()):
        bench.note("create", f"  a guest's {name}",
                   f"PSS {pss / IDLE / 1024:.1f} MiB, its own "
                   f"{private / IDLE / 1024:.1f} MiB",
                   pss_kib=pss / IDLE, private_kib=private / IDLE)


def run_create(bench):
    bench.start_node(*NO_POOL)
    bench.part("create")
    bench_starts(bench)
    n = 5 if bench.quick else 20
    bench_at_once(bench, n, NO_POOL, "empty pool")
    bench_at_once(bench, n, [f"pool.min={n}", f"pool.max={n}"], "warm pool")
    bench_idle(bench)
    left = json.loads(run(CTL, "--json", "list").stdout)
    for sandbox in left:
        bench.node.terminate(sandbox["id"])
