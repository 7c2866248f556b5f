# SPDX-License-Identifier: Apache-2.0
"""run.py - every crash point and fault of every operation, one after the other

usage: run.sh [--all] [--points N] [--fault-points N] [--jobs N] [--keep]
       [--give-up N] [PATTERN..]

For each operation: run it once and count the changes it makes to the outside
(crashpoint.c). Then, for each number up to that count, over a fresh state
directory: run it and kill the engine before that change; start another; see
that what is there is legal; repeat the call with its request id and see that it
is answered as it was, or done now, and the same again; use what survived; end
all of it; and see that the census equals that of a node where nothing happened.
Faults are the same without the kill: the n-th write finds the disk full or
broken, the n-th netlink message is refused, the n-th request to libvirt fails
in one of five ways, or an allocation gets no memory (alloc_fault.c). These are
told apart by the calls that led there: of each such way the first and the last
fails. A way that another operation goes too is tried once.

Without --all every operation is sampled, --points of each and --fault-points of
each of its faults: the first and last and some between, others in each run. One line an operation:

    PASS crash/pause: 83 points (of 83)
"""
import argparse
import errno
import fnmatch
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import alloc

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("BUILD", "."))
TOOLS = os.path.join(BUILD, "tests/crash")
PATIENCE = 120  # seconds for one run, on a machine that others use too

# Steps before the operation, the operation, and what must hold after it (with
# the call repeated): the tail. {op} is put in as a call that must succeed.
CREATE = ["create a r0", "settle", "poke a one"]
USE = ["pause a", "settle", "check", "resume a", "settle", "peek a one"]
END = ["end", "restart", "check", "live 0", "stop", "census"]
RUNS = ["peek a one", "poke a one"] + USE
# More layers than a snapshot may have for long.
LONG = ["pause a", "resume a", "settle"] * 8 + ["pause a"]
WHOLE = "min = 0\n[snapshots]\nmechanism = libvirt\n"
OPERATIONS = {
    "create": dict(op="create a r1", live=1, after=["poke a one"] + USE),
    "create-cold": dict(config="min = 0\n[guest]\ntemplates = no\n",
                        op="create a r1", live=1,
                        after=["poke a one"] + USE),
    "exec": dict(before=CREATE + ["pause a"], op="exec a", live=1,
                 after=RUNS),
    "pause": dict(before=CREATE, op="pause a r1", live=1,
                  after=["resume a", "settle"] + RUNS),
    "pause-again": dict(before=CREATE + ["pause a", "resume a", "settle"],
                        op="pause a r1", live=1,
                        after=["resume a", "settle"] + RUNS),
    "resume": dict(before=CREATE + ["pause a"], op="resume a r1", live=1,
                   after=RUNS),
    "snapshot": dict(before=CREATE, op="snapshot a s r1", live=1,
                     after=["poke a two", "restore a s", "settle"] + RUNS),
    "rmsnapshot": dict(before=CREATE + ["snapshot a s"],
                       op="rmsnapshot s r1", live=1, after=RUNS),
    "restore": dict(before=CREATE + ["snapshot a s", "settle", "poke a two"],
                    op="restore a s r1", live=1, after=RUNS),
    "restore-paused": dict(before=CREATE + ["snapshot a s", "settle",
                                            "poke a two", "pause a"],
                           op="restore a s r1", live=1, after=RUNS),
    "fork": dict(before=CREATE, op="fork a r1", live=3, after=RUNS),
    "fork-paused": dict(before=CREATE + ["pause a"], op="fork a r1", live=3,
                        after=["resume a", "settle"] + RUNS),
    "update": dict(before=CREATE, op="update a r1", live=1, after=RUNS),
    "expose": dict(before=CREATE, op="expose a r1", live=1, after=RUNS),
    "close": dict(before=CREATE + ["expose a"], op="close a r1", live=1,
                  after=RUNS),
    "terminate": dict(before=CREATE, op="terminate a r1", live=0, after=[]),
    "terminate-paused": dict(before=CREATE + ["expose a", "pause a"],
                             op="terminate a r1", live=0, after=[]),
    "template": dict(op="template 4 r1", live=0, after=[]),
    "rmtemplate": dict(before=["template 4", "know 4"], op="rmtemplate 4 r1", live=0,
                       after=[]),
    "pool": dict(config="min = 1\n", before=["create a r0"],
                 op="create b r1", wait=["pool 1"], live=2,
                 after=["settle"]),
    # A start under another kernel, which makes template and clone anew.
    "pool-kernel": dict(config="min = 1\n",
                        before=["create a r0", "pool 1", "kernel crash-2"],
                        op=None, live=1, after=["pool 1", "kernel crash-1"]),
    "import": dict(op="import extra r1", live=0, after=[]),
    "rmimage": dict(before=["import extra"], op="rmimage extra r1", live=0,
                    after=[]),
    "drain": dict(before=CREATE, op="drain r1", live=1,
                  after=["resume a", "settle"] + RUNS),
    "export": dict(before=CREATE + ["snapshot a s"], op="export s", live=1,
                   after=["importsnap"] + RUNS),
    # Its template is here, or comes with it.
    "importsnap": dict(before=CREATE + ["snapshot a s", "export s"],
                       op="importsnap", live=1, after=RUNS),
    "importsnap-all": dict(before=["create large", "settle", "snapshot large s",
                                   "export s", "end"],
                           op="importsnap", live=0,
                           after=["forksnap s", "settle", "check"]),
    "merge": dict(before=CREATE + LONG, op="merge a", live=1,
                  after=["resume a", "settle"] + RUNS),
    # Saved and restored by libvirt.
    "whole-pause": dict(config=WHOLE, before=CREATE, op="pause a r1", live=1,
                        after=["resume a", "settle"] + RUNS),
    "whole-resume": dict(config=WHOLE, before=CREATE + ["pause a"],
                         op="resume a r1", live=1, after=RUNS),
    "whole-snapshot": dict(config=WHOLE, before=CREATE,
                           op="snapshot a s r1", live=1,
                           after=["poke a two", "restore a s", "settle"]
                           + RUNS),
    "whole-fork": dict(config=WHOLE, before=CREATE + ["pause a"],
                       op="fork a r1", live=3,
                       after=["resume a", "settle"] + RUNS),
    # A start over one of each.
    "start": dict(before=CREATE + ["snapshot a s", "create b", "pause b",
                                   "expose a", "create c"],
                  op=None, live=3, after=RUNS),
}
FAULTS = {
    "enospc": (errno.ENOSPC, "files"),
    "eio": (errno.EIO, "files"),
    "netlink": (errno.ENOMEM, "net"),
}
VIRT_FAULTS = ["refuse", "late", "drop", "lost", "die"]


class Broken(Exception):
    pass


def sh(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr}")
    return done.stdout


class Node:
    """A state directory, a network and a libvirtd of its own."""

    def __init__(self, work, number):
        self.dir = os.path.join(work, str(number))
        self.gold = os.path.join(work, f"gold{number}")
        self.netns = f"crash-{os.getpid()}-{number}"
        os.mkdir(self.dir, 0o711)
        os.mkdir(f"{self.dir}/run", 0o711)
        sh("ip", "netns", "add", self.netns)
        for command in ("link set lo up", "link add up0 type veth peer up1",
                        "addr add 192.0.2.1/24 dev up0", "link set up0 up",
                        "link set up1 up",
                        "route add default via 192.0.2.254"):
            sh("ip", "-n", self.netns, *command.split())
        self.env = dict(os.environ, CRASH_BUILD=BUILD,
                        CRASH_ARCHIVES=work,
                        FAKE_VIRT_SOCKET=f"{self.dir}/virt.sock")
        self.enter = ["ip", "netns", "exec", self.netns]
        self.virtd = None
        self.start_virtd()

    def start_virtd(self):
        self.stop_virtd()
        path = self.env["FAKE_VIRT_SOCKET"]
        self.virtd = subprocess.Popen([f"{TOOLS}/fake_virtd", path])
        while not os.path.exists(path):
            if self.virtd.poll() is not None:
                raise RuntimeError("fake_virtd ended")
            time.sleep(0.005)

    def stop_virtd(self):
        if self.virtd:
            self.virtd.kill()
            self.virtd.wait()
            if os.path.exists(self.env["FAKE_VIRT_SOCKET"]):
                os.unlink(self.env["FAKE_VIRT_SOCKET"])
        self.virtd = None

    def close(self):
        self.stop_virtd()
        sh("ip", "netns", "del", self.netns)

    def remember(self):
        shutil.rmtree(self.gold, ignore_errors=True)
        sh("cp", "-a", "--sparse=always", f"{self.dir}/state", self.gold)

    def reset(self):
        shutil.rmtree(f"{self.dir}/state", ignore_errors=True)
        pathlib.Path(self.dir, "kernel").unlink(missing_ok=True)
        sh("cp", "-a", "--sparse=always", self.gold, f"{self.dir}/state")

    def run(self, steps, config=None, point=None, allocs=None):
        """Output, how it ended, and what crashpoint or alloc_fault.c tell."""
        env = dict(self.env)
        if allocs:
            env["CRASH_ALLOC"] = allocs
        if config:
            env["CRASH_CONFIG"] = config
        command = [f"{TOOLS}/crash_node", self.dir] + steps
        told = tempfile.TemporaryFile("w+")
        w = told.fileno()
        if point is not None:
            command = [f"{TOOLS}/crashpoint"] + list(point) + command
        command = ["bash", "-c", 'exec 3>&$0 "$@"', str(w)] + command
        p = subprocess.Popen(self.enter + command, env=env, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             pass_fds=[w], start_new_session=True)
        try:
            out, err = p.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, err = p.communicate()
            err += "\nBROKEN: it hangs"
        with told:
            told.seek(0)
            return p.returncode, out, err, told.read().strip()

    def must(self, steps, config=None):
        code, out, err, _ = self.run(steps, config)
        if code:
            lines = err.strip().split("\n")
            raise Broken("\n".join(lines[-12:]))
        return out

    def census(self, out):
        lines = [x for x in out.split("\n") if x.startswith("census")]
        rules = sh("ip", "netns", "exec", self.netns, "nft", "-s", "list",
                   "table", "inet", "sandboxd")
        return lines + ["nft " + x.strip() for x in rules.split("\n")]


def answers(out):
    return re.findall(r"^answer (\S+) (\S+) ?(.*)$", out, re.M)


def compare(name, want, got):
    gone = [x for x in want if x not in got]
    new = [x for x in got if x not in want]
    if gone or new:
        raise Broken(f"census after {name}: "
                     + "; ".join([f"gone: {x}" for x in gone[:4]]
                                 + [f"left: {x}" for x in new[:4]]))


class Operation:
    def __init__(self, name, spec):
        self.name = name
        self.config = spec.get("config")
        self.before = ["start", "settle"] + spec.get("before", [])
        self.op = spec["op"]
        self.wait = spec.get("wait", [])
        self.live = spec["live"]
        self.after = spec["after"]

    def counted(self, op):
        """The run in which things happen."""
        if self.op is None:
            return ["start", "settle", "unmark"]
        return (self.before + ["settle", "mark", op] + self.wait
                + ["settle", "unmark"])

    def tail(self):
        """From legal, to the same answer twice, to nothing."""
        again = [self.op, "settle"] + self.wait if self.op else []
        if self.op == "exec a":
            again = again[:1] + ["settle"]
        steps = (["settle", "check"] + again
                 + again[:1] + ["settle", "check", f"live {self.live}"]
                 + self.after)
        # A node that fills pools would fill them again.
        return steps + ([] if self.config else END)

    def same_answer(self, first, out):
        """Of what was answered before the crash, and the two after it."""
        if not self.op or self.op.startswith("exec"):
            return
        verb = self.op.split()[0]
        said = [x for x in answers(first) if x[0] == verb and x[1] == "ok"]
        # The last answer of the verb in the first run, if the marked call had
        # one: setups use other verbs, or come before.
        again = [x for x in answers(out) if x[0] == verb][:2]
        if again[0] != again[1]:
            raise Broken(f"answered {again[0]}, then {again[1]}")
        n = sum(1 for s in self.before if s.split()[0] == verb)
        if len(said) > n and said[-1] != again[0]:
            raise Broken(f"answered {said[-1]} before, {again[0]} now")

    def crash(self, node, k, want):
        """One crash point; False: there are fewer."""
        node.reset()
        point = ["--kill", str(k)]
        if self.op is None:
            node.must(self.before + ["settle"], self.config)
            point.append("--from-start")
        code, out, err, told = node.run(self.counted(self.op), self.config,
                                        point)
        if told.startswith("points"):
            if code:
                raise Broken(err[-600:])
            self.finish(node)
            return None
        hit = told.split(" ", 1)[-1]
        try:
            self.again(node, out, want)
        except Broken as e:
            raise Broken(f"killed before {hit}:\n{e}") from None
        return hit

    def again(self, node, first, want):
        """Started anew after what first was answered: all is well."""
        code, out, err, _ = node.run(["start"] + self.tail(), self.config)
        if code:
            raise Broken(err.strip()[-900:])
        self.same_answer(first, out)
        if self.config:
            out = node.must(["start", "settle"] + END)
        compare("the crash", want, node.census(out))

    def finish(self, node):
        node.start_virtd()

    def fault(self, node, k, point, virt, want):
        """The k-th call fails; None: there are fewer."""
        node.reset()
        if virt:
            steps = (self.before + ["settle", f"fault {k} {virt}",
                                    "?" + self.op] + ["look", "count",
                                                      "fault 0 none"])
            code, out, err, told = node.run(
                steps + self.fault_tail(virt), self.config)
            m = re.search(r"^count (\d+) ?(.*)$", out, re.M)
            hit = m.group(2) if m else "?"
            fewer = bool(m) and not hit
        else:
            steps = (self.before + ["settle", "mark", "?" + self.op, "settle",
                                    "unmark"])
            code, out, err, told = node.run(
                steps + self.fault_tail(None), self.config, point)
            fewer = told.startswith("points") and "hit" not in told
            hit = told.split("\n")[0]
        try:
            if code:
                raise Broken(err.strip()[-900:])
            if self.config:
                out = node.must(["start", "settle"] + END)
            compare("the fault", want, node.census(out))
        except Broken as e:
            raise Broken(f"failed {hit}:\n{e}") from None
        return None if fewer else hit

    def alloc_steps(self):
        if self.op is None:
            return ["mark", "start", "settle", "unmark"]
        return self.before + ["settle", "mark", "?" + self.op, "settle",
                              "unmark"]

    def count_allocs(self, node, known):
        node.reset()
        if self.op is None:
            node.must(self.before + ["settle"], self.config)
        code, _, err, told = node.run(self.alloc_steps(), self.config,
                                      allocs="count")
        node.start_virtd()
        if code:
            raise Broken(err.strip()[-900:])
        if not told:
            raise Broken("it counts nothing: not under sanitizers")
        return alloc.Counted(told, known)

    def no_memory(self, node, point, names, want):
        """One allocation fails: how that ended. Then as after a crash."""
        node.reset()
        if self.op is None:
            node.must(self.before + ["settle"], self.config)
        code, out, err, told = node.run(self.alloc_steps(), self.config,
                                        allocs=point)
        how = alloc.outcome(code, told)
        if how == alloc.MISSED:
            self.finish(node)
            return how
        hit = names.hit(told) if "hit " in told else "nothing"
        try:
            if how is None:
                raise Broken(f"it ended with {code}: {err.strip()[-900:]}")
            self.again(node, out, want)
        except Broken as e:
            raise Broken(f"{point}: no memory for {hit}:\n{e}") from None
        return how

    def fault_tail(self, virt):
        steps = self.tail()
        if virt == "die":
            # The guest's work since its last snapshot is gone with it, and
            # so may be the sandbox: only what is there must be legal.
            return ["settle", "check"] + ([] if self.config else END)
        # What a full disk kept from being deleted goes at the next start.
        return ["restart"] + steps


# One bit of each part of a snapshot: a clear error, the sandbox stays PAUSED,
# and with the bit put back it resumes.
PARTS = ["manifest", "sandbox.mem.zst", "sandbox.state.zst", "disk.0.qcow2"]


def damage(node, part, offsets):
    """The steps with a bit of that part flipped, one offset after another."""
    steps = ["start", "settle"] + CREATE + ["pause a", "settle"]
    for offset in offsets:
        steps += [f"flip a {part} {offset}", "finds 1", "!resume a",
                  "settle", "is a PAUSED", f"flip a {part} {offset}"]
    return steps + ["check", "resume a", "settle", "peek a one", "check"] + END


# Rows that cannot be read: told; what a sandbox is paused to is made again from
# its own, a named snapshot can be removed, a port is closed.
ROWS = (["start", "settle"] + CREATE
        + ["snapshot a s", "expose a", "create b", "settle", "pause a",
           "settle", "stop", "spoil snapshots", "spoil ports", "start",
           "settle", "is a PAUSED", "is b RUNNING", "finds 2", "!restore a s",
           "resume a", "settle", "peek a one", "finds 2", "rmsnapshot s",
           "finds 1"] + END)


class Run:
    def __init__(self, args):
        self.args = args
        self.lock = threading.Lock()
        self.points = 0
        self.failed = 0
        self.queue = []
        self.ways = set()
        self.names = alloc.Names(f"{TOOLS}/crash_node")

    def prepare(self, node):
        """The image and the template that all of it starts from."""
        out = node.must(["start", "settle", "import base", "template 2",
                         "settle", "create z", "end", "stop", "start",
                         "settle", "stop", "census"])
        node.remember()
        return node.census(out)

    def numbers(self, total, some):
        if self.args.all or total <= some:
            return list(range(1, total + 1))
        if some == 1:
            return [random.randrange(total) + 1]
        stride = total / some
        first = random.random() * stride
        return sorted({1, total} | {1 + int(first + i * stride)
                                    for i in range(some - 1)})

    def enumerate(self, label, node, one, total, some, tell=None):
        """one(k) for each point; tells PASS or FAIL."""
        wrong, done = [], 0
        for k in self.numbers(total, some):
            try:
                if one(k) is None:
                    break
                done += 1
            except Broken as e:
                done += 1
                wrong.append(f"point {k}: {e}")
                node.start_virtd()
                if len(wrong) >= self.args.give_up:
                    break
        # Taps go slowly: once an operation is enough.
        try:
            node.reset()
            if label.startswith("crash/"):
                node.must(["start", "settle", "taps"])
        except Broken as e:
            wrong.append(f"taps: {e}")
        with self.lock:
            self.points += done
            self.failed += bool(wrong)
            if wrong:
                print(f"FAIL {label}: {len(wrong)} of {done} points")
                for text in wrong[:6]:
                    for line in text.split("\n"):
                        print("    " + line)
            else:
                print(f"PASS {label}: " + (tell() if tell else
                                           f"{done} points (of {total})"))
            sys.stdout.flush()

    def count(self, node, op, point):
        node.reset()
        # So that what goes on behind is of this run.
        if "files" not in str(point):
            node.must(["start", "settle", "taps", "stop"])
            node.reset()
        steps = op.counted(op.op)
        if op.op is None:
            node.must(op.before + ["settle"], op.config)
        code, out, err, told = node.run(steps, op.config, point)
        if code or not told.startswith("points"):
            raise Broken(f"it does not work at all ({code}, '{told}'):\n"
                         + err.strip()[-900:])
        node.start_virtd()
        return int(told.split()[1])

    def one(self, node, want, name, kind):
        op = Operation(name, OPERATIONS[name])
        label = f"crash/{name}" if kind == "kill" else f"fault/{kind}/{name}"
        if kind == "kill":
            start = ["--from-start"] if op.op is None else []
            total = self.count(node, op, start)
            self.enumerate(label, node, lambda k: op.crash(node, k, want),
                           total, self.args.points)
        elif kind == "alloc":
            known = self.ways if self.args.all else set()
            counted, how = op.count_allocs(node, known), []
            self.enumerate(label, node, lambda k: how.append(op.no_memory(
                node, counted.points[k - 1], self.names, want)) or True,
                           len(counted.points), self.args.fault_points,
                           lambda: alloc.summary(counted, how))
        elif kind in FAULTS:
            code, which = FAULTS[kind]
            point = lambda k: ["--fail", f"{k}:{code}:{which}"]
            total = self.count(node, op, point(1 << 30))
            self.enumerate(label, node, lambda k: op.fault(
                node, k, point(k), None, want), total, self.args.fault_points)
        else:
            node.reset()
            out = node.must(op.before + ["settle", "fault 0 none", op.op,
                                         "settle", "count"], op.config)
            total = int(re.search(r"^count (\d+)", out, re.M).group(1))
            node.start_virtd()
            self.enumerate(label, node, lambda k: op.fault(
                node, k, None, kind, want), total, self.args.fault_points)

    def worker(self, node, want):
        while True:
            with self.lock:
                if not self.queue:
                    return
                name, kind = self.queue.pop(0)
            try:
                if name == "rows":
                    self.damaged_rows(node, want)
                elif kind == "damage":
                    self.damage(node, want, name)
                else:
                    self.one(node, want, name, kind)
            except Broken as e:
                with self.lock:
                    self.failed += 1
                    print(f"FAIL {kind}/{name}: {e}")
                node.start_virtd()

    def damage(self, node, want, part):
        """Of each part some bytes; of all but the disk's most are something."""
        node.reset()
        out = node.must(["start", "settle"] + CREATE
                        + ["pause a", f"size a {part}"])
        size = int(re.search(r"^size (\d+)", out, re.M).group(1))
        node.start_virtd()
        some = 64 if self.args.all else 6
        offsets = sorted({0, size - 1} | {random.randrange(size)
                                          for _ in range(some - 2)})
        if part.endswith(".zst"):
            # A frame's unused bit and window size change nothing of what is
            # in it: fsck, which looks at all bytes, tells; a resume goes on.
            offsets = [o for o in offsets if o not in (4, 5)]
        node.reset()
        try:
            out = node.must(damage(node, part, offsets))
            compare("the damage", want, node.census(out))
            wrong = None
        except Broken as e:
            wrong = e
            node.start_virtd()
        with self.lock:
            self.points += len(offsets)
            self.failed += bool(wrong)
            print(f"FAIL damage/{part}:\n    {wrong}" if wrong else
                  f"PASS damage/{part}: {len(offsets)} bits (of {size} bytes)")

    def damaged_rows(self, node, want):
        node.reset()
        try:
            compare("the damage", want, node.census(node.must(ROWS)))
            wrong = None
        except Broken as e:
            wrong = e
            node.start_virtd()
        with self.lock:
            self.points += 1
            self.failed += bool(wrong)
            print(f"FAIL damage/rows:\n    {wrong}" if wrong else
                  "PASS damage/rows: 1 points (of 1)")

    def fill(self):
        kinds = ["kill"] + list(FAULTS) + ["alloc"] + VIRT_FAULTS
        for kind in kinds:
            for name, spec in OPERATIONS.items():
                label = (f"crash/{name}" if kind == "kill"
                         else f"fault/{kind}/{name}")
                if spec["op"] is None and kind not in ("kill", "alloc"):
                    continue
                if not self.args.pattern or any(
                        fnmatch.fnmatch(label, p)
                        for p in self.args.pattern):
                    self.queue.append((name, kind))
        self.queue += [(part, "damage") for part in PARTS + ["rows"]
                       if not self.args.pattern
                       or any(fnmatch.fnmatch(f"damage/{part}", p)
                              for p in self.args.pattern)]

    def main(self, work):
        nodes = [Node(work, i) for i in range(self.args.jobs)]
        try:
            wants = [self.prepare(n) for n in nodes]
            self.fill()
            # Told to stop, the main thread does not wait for the others.
            threads = [threading.Thread(target=self.worker, args=x,
                                        daemon=True)
                       for x in zip(nodes, wants)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        finally:
            for n in nodes:
                n.close()
        print(f"{self.points} points, {self.failed} failed")
        return 1 if self.failed else 0


def make_archives(work):
    """Of the image that all starts from, and of another: one's content is one
    image whatever its name, and would share its templates."""
    root = f"{work}/root"
    os.makedirs(f"{root}/bin")
    for name in ("base", "extra"):
        with open(f"{root}/bin/{name}", "w") as f:
            f.write("hello\n")
        sh("tar", "-C", root, "--owner=0", "--group=0", "--mtime=@1", "-cf",
           f"{work}/{name}.tar", ".")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--fault-points", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--give-up", type=int, default=5)
    parser.add_argument("pattern", nargs="*")
    args = parser.parse_args()
    # Memory rather than disk: a crash of the process is no loss of power, and
    # the directory is copied for every point.
    base = os.environ.get("CRASH_DIR") or (
        "/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    work = tempfile.mkdtemp(prefix="sbxcrash.", dir=base)
    os.chmod(work, 0o711)
    # Guests' users run it too, as qemu-img, and may not reach the build; and
    # what is in memory may be nothing to run.
    reached = tempfile.mkdtemp(prefix="sbxcrash.")
    os.chmod(reached, 0o711)
    os.environ["CRASH_VIRTD"] = shutil.copy(f"{TOOLS}/fake_virtd", reached)
    try:
        make_archives(work)
        return Run(args).main(work)
    finally:
        shutil.rmtree(reached, ignore_errors=True)
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    try:
        status = main()
    except SystemExit as e:
        status = e.code
    sys.stdout.flush()
    os._exit(status)
