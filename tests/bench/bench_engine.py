# SPDX-License-Identifier: Apache-2.0
"""bench_engine.py - calls of the API while the guests are files

The engine, its database on disk and the front are as they are; hypervisor,
network and images cost nothing (tests/bench/bench_node.c). The nodes of all
sizes take turns; at the end each is killed and started again some times.
"""
import os
import re
import shutil
import signal
import subprocess

import bench_lib as lib
from bench_lib import BUILD, client, number, program, spread, wait_for

# rows, of which run, are paused, have ended
SIZES = [(10, 10, 0, 0), (1000, 500, 500, 0), (10000, 500, 6500, 3000)]
CLIENTS = [1, 8]


class FakeNode:
    def __init__(self, bench, sizes):
        self.dir = os.path.join(bench.work, f"engine{sizes[0]}")
        lib.run(program("bench_node"), "seed", self.dir, *sizes[1:])
        self.log = open(f"{self.dir}.log", "w")

    def use(self):
        os.environ["SANDBOXD_CONNECT"] = f"unix:{self.dir}/node.sock"

    def start(self):
        self.process = subprocess.Popen(
            [program("bench_node"), "serve", self.dir, BUILD, "nobody"],
            stdout=subprocess.DEVNULL, stderr=self.log)

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        self.process.wait()

    def recovered(self):
        with open(self.log.name) as f:
            return "recovery is through" in f.read()

    def rss_kib(self, name):
        """Of the engine, or of its child of that name."""
        pids = [self.process.pid]
        if name:
            pids = [int(p) for p in lib.run("pgrep", "-P", self.process.pid, "-x",
                                        name).stdout.split()]
        with open(f"/proc/{pids[0]}/status") as f:
            return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1))

    def close(self):
        self.kill(signal.SIGTERM)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def restart(bench, node, rows):
    """From a kill -9 to the first answer, and what calls take meanwhile."""
    first, during = [], []
    for _ in bench.rounds(max(2, bench.count // 4), f"{rows}: restarts"):
        node.kill()
        node.start()
        out = client("during", "seed-000000", 2)
        first.append(out["first_ms"])
        during += out["ms"]
    bench.report("engine", f"{rows} sandboxes: kill -9 to the first answer",
                 "start of the node to GetSandbox answered", first)
    bench.report("engine", f"{rows} sandboxes: calls in the 2 s after that",
                 "one call", during)


def calls(rows):
    """(name, how, with what, how many times)"""
    last = max(0, rows - 20 - (SIZES[-1][3] if rows == SIZES[-1][0] else 0))
    return [("GetSandbox", "get", "seed-000000", 400),
            ("ListSandboxes, first page", "list", "0", 200),
            ("ListSandboxes, last page", "list", str(last), 200),
            ("CreateSandbox", "create", "debian:12", 24),
            ("CreateSandbox and an Exec", "start", "debian:12", 24)]


def rates(bench, nodes):
    """All sizes in turns: {(name, clients): {rows: ([rate], [ms])}}"""
    found = {}
    for _ in bench.rounds(max(2, bench.count // 4), "calls"):
        for clients in CLIENTS:
            for rows, node in nodes.items():
                node.use()
                for name, how, what, n in calls(rows):
                    out = client("rate", how, what, clients, n // clients)
                    at = found.setdefault((name, clients), {})
                    rate, ms = at.setdefault(rows, ([], []))
                    rate.append(len(out["ms"]) / out["wall_ms"] * 1e3)
                    ms += out["ms"]
    return found


def print_rates(bench, found):
    print("\ncalls   (clock: the call; rate: calls over wall time, one under "
          "way a client)")
    for (name, clients), at in found.items():
        print(f" {name}, {clients} client{'s' if clients > 1 else ''}")
        for rows, (rate, ms) in at.items():
            s, r = spread(ms), spread(rate)
            bench.note("engine", f" {rows:>6} sandboxes",
                       f"{r['median']:>6.0f}/s [{r['min']:.0f} .. "
                       f"{r['max']:.0f}]  p50 {number(s['median'])} ms  "
                       f"p99 {number(s['p99'])} ms",
                       call=name, clients=clients, rate=r, ms=s)


def print_memory(bench, memory):
    print("\nresident memory")
    for i, (rows, running, engine, front) in enumerate(memory):
        each = ""
        if i:
            rows0, run0, e0, f0 = memory[i - 1]
            each = f"; engine {(engine - e0) / (rows - rows0):.1f} KiB a row"
            if running > run0:
                each += f", front {(front - f0) / (running - run0):.1f} KiB " \
                        "a running one"
        bench.note("engine", f"{rows} sandboxes, {running} running",
                   f"engine {engine} KiB, front {front} KiB{each}",
                   engine_kib=engine, front_kib=front)


def run(bench):
    bench.part("engine")
    nodes, memory = {}, []
    try:
        for sizes in SIZES:
            node = nodes[sizes[0]] = FakeNode(bench, sizes)
            node.start()
            node.use()
            client("during", "seed-000000", 1)
            wait_for("recovery", node.recovered)
            memory.append((sizes[0], sizes[1], node.rss_kib(""),
                           node.rss_kib("sandboxd-front")))
        print_rates(bench, rates(bench, nodes))
        print_memory(bench, memory)
        for rows, node in nodes.items():
            node.use()
            restart(bench, node, rows)
    finally:
        for node in nodes.values():
            node.close()
