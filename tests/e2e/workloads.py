# SPDX-License-Identifier: Apache-2.0
"""workloads.py - drive a guest that is busy through pauses, from the host

usage: workloads.py cycles CTL ID COUNT		see guest_work.py run
       workloads.py memory CTL ID MIB		see guest_work.py hold
       workloads.py drawn FILE..		logs of guest_work.py draw

Prints "# .." lines with what was measured; exit status 1 and the reasons when
something is not as it was.
"""
import contextlib
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time

CLOCK_MS = 50  # how wrong a guest's clock may be after a resume


def fail(text):
    print(text)
    sys.exit(1)


class Guest:
    """A sandbox: sandboxctl, and lines to a listener in it."""

    def __init__(self, ctl, name):
        self.ctl, self.name = ctl, name

    def call(self, *args):
        done = subprocess.run([self.ctl, *args], capture_output=True,
                              text=True, timeout=300)
        if done.returncode:
            fail(f"{' '.join(args)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def timed(self, command):
        began = time.monotonic()
        self.call(command, self.name)
        return (time.monotonic() - began) * 1000

    @contextlib.contextmanager
    def forwarded(self, port):
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        p = subprocess.Popen([self.ctl, "port", "forward", self.name,
                              f"{self.port}:{port}"],
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            p.kill()
            p.wait()

    def ask(self, *questions, patience=30):
        """Answers, each with when it was asked and had, in ns."""
        end = time.monotonic() + patience
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as c:
                    c.settimeout(300)
                    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    f = c.makefile("rw")
                    found = []
                    for q in questions:
                        t0 = time.time_ns()
                        f.write(q + "\n")
                        f.flush()
                        answer = json.loads(f.readline())
                        found.append((t0, answer, time.time_ns()))
                    return found
            except (OSError, ValueError) as e:
                if time.monotonic() > end:
                    fail(f"the guest's listener does not answer: {e}")
                time.sleep(0.02)

    def one(self, question):
        return self.ask(question)[0][1]


class Terminal:
    """A shell on a terminal in the guest, joined anew after each resume. What
    is typed before a pause is a line's beginning, and after it its end: the
    line editor and the terminal's mode are those of before."""

    def __init__(self, guest):
        self.guest = guest
        # With a stdin that does not end: its end would be the shell's.
        p = subprocess.Popen([guest.ctl, "exec", guest.name, "--background",
                              "-i", "-t", "--", "bash", "--norc",
                              "--noprofile", "-i"], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out = p.stdout.read()
        p.communicate()
        self.pid = "".join(x for x in out if x.isdigit())
        self.seen, self.client = b"", None

    def join(self):
        self.leave()
        self.client = subprocess.Popen(
            [self.guest.ctl, "attach", self.guest.name, self.pid, "-i",
             "--offset", str(len(self.seen))], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def leave(self):
        if self.client:
            self.client.kill()
            self.client.communicate()

    def type(self, text):
        self.client.stdin.write(text.encode())
        self.client.stdin.flush()

    def until(self, text, seconds=30):
        end = time.monotonic() + seconds
        start = max(0, self.mark)
        while text.encode() not in self.seen[start:]:
            left = end - time.monotonic()
            ready = select.select([self.client.stdout], [], [], max(left, 0))
            data = os.read(self.client.stdout.fileno(), 65536) if ready[0] \
                else b""
            if not data:
                fail(f"the terminal never said '{text}' but "
                     f"{self.seen[start:]}")
            self.seen += data

    def begin(self, i):
        self.mark = len(self.seen)
        # The cursor is left within the line, where the rest is put in.
        self.type(f"echo $((1000000 + {i}))end\x1b[D\x1b[D\x1b[D")
        self.until("end\b\b\b")

    def finish(self, i):
        self.mark = len(self.seen)
        self.type("-the-\r")
        self.until(f"{1000000 + i}-the-end")


def clock_error(guest):
    """How far off the guest's clock is, at best and at worst, in ms: the
    answer was true at some time between question and answer."""
    low, high = -1e18, 1e18
    for t0, guest_ns, t1 in guest.ask(*["time"] * 6):
        low = max(low, guest_ns - t1)
        high = min(high, guest_ns - t0)
    return low / 1e6, high / 1e6


def same(before, now, cycle):
    for what in ("processes", "sockets", "port_a", "port_b"):
        if before[what] != now[what]:
            fail(f"pause {cycle}: {what}: {before[what]} -> {now[what]}")
    for what in ("ticks", "sent", "received", "rows", "builds"):
        if now[what] < before[what]:
            fail(f"pause {cycle}: {what} went back")
    if now["errors"]:
        fail(f"pause {cycle}: {now['errors']}")


def seen_by_all(guest, cycle):
    """The state once the counter has looked at the clock, which on a host that
    is busy it does later than we."""
    end = time.monotonic() + 60
    while True:
        state = guest.one("state")
        if state["clock_steps"] >= cycle or time.monotonic() > end:
            return state
        time.sleep(0.02)


def cycles(ctl, name, count):
    guest = Guest(ctl, name)
    clocks, pauses, resumes = [], [], []
    with guest.forwarded(7000):
        terminal = Terminal(guest)
        first = state = guest.one("state")
        while min(state[x] for x in ("ticks", "sent", "rows", "builds")) < 1:
            first = state = guest.one("state")
        if len(first["processes"]) != 5 or len(first["sockets"]) != 2:
            fail(f"not all of it runs: {first}")
        for i in range(1, count + 1):
            terminal.join()
            terminal.begin(i)
            pauses.append(guest.timed("pause"))
            resumes.append(guest.timed("resume"))
            clocks.append(clock_error(guest))
            terminal.join()
            terminal.finish(i)
            state = seen_by_all(guest, i)
            same(first, state, i)
            if state["clock_steps"] != i or state["clock_back"]:
                fail(f"pause {i}: the clock was set {state['clock_steps']} "
                     f"times, {state['clock_back']} times back")
            # It works on, each part of it.
            for what in ("ticks", "sent", "rows"):
                while guest.one("state")[what] <= state[what]:
                    time.sleep(0.01)
        last = guest.one("stop")
        terminal.leave()
    if last["errors"]:
        fail(last["errors"])
    print(f"# {count} pauses: {last['ticks']} ticks, {last['received']} "
          f"messages on one connection, {last['rows']} rows, "
          f"{last['builds']} builds: none missed")
    print(f"# pause p50 {statistics.median(pauses):.0f} ms, resume p50 "
          f"{statistics.median(resumes):.0f} ms (max {max(pauses):.0f}, "
          f"{max(resumes):.0f}) as a client sees them")
    far = [max(low, -high) for low, high in clocks]
    sure = [max(-low, high) for low, high in clocks]
    within = sum(x <= CLOCK_MS for x in sure)
    print(f"# clock after a resume: {within} of {count} surely within "
          f"{CLOCK_MS} ms, {sum(x > CLOCK_MS for x in far)} surely not; off "
          f"by at most {statistics.median(sure):.1f} ms in half of them, "
          f"{max(sure):.1f} ms in all")
    # How long an answer took is no error of the clock; and on a host with far
    # more to do than it can, what sets the clock is late now and then.
    if statistics.median(far) > CLOCK_MS:
        fail(f"the clock was {statistics.median(far):.1f} ms off or more")


def memory(ctl, name, mib):
    guest = Guest(ctl, name)
    with guest.forwarded(7001):
        # Filling it takes long under emulation.
        before = guest.ask("check", patience=300)[0][1]
        paused = guest.timed("pause")
        events = guest.call("--json", "events", "--sandbox", name)
        resumed = guest.timed("resume")
        after = guest.one("check")
    if before["bad"] or after != before or before["mib"] != mib:
        fail(f"before {before}, after {after}")
    size = [json.loads(x) for x in events.split("\n")
            if "sandbox.paused" in x][-1]["data"]["snapshotBytes"]
    print(f"# {mib} MiB known: every byte as before; pause {paused:.0f} ms, "
          f"resume {resumed:.0f} ms, snapshot "
          f"{int(size) >> 20} MiB")


def drawn(files):
    """Logs of clones have a common beginning, of before they were; after it
    no value is in two of them, or twice in one."""
    logs = []
    for path in files:
        with open(path) as f:
            logs.append([x.split()[1] for x in f if x.endswith("\n")])
    start = 0
    while all(len(x) > start for x in logs) and \
            len({x[start] for x in logs}) == 1:
        start += 1
    seen = {}
    for i, log in enumerate(logs):
        if len(log) - start < 6:
            fail(f"{files[i]}: nothing was drawn in the clone")
        for n, value in enumerate(log[start:] + (log[:start] if not i else [])):
            if value in seen:
                fail(f"{value} was drawn twice: {seen[value]}, "
                     f"{files[i]}:{n + start}")
            seen[value] = f"{files[i]}:{n + start}"
    print(f"# {len(logs)} clones: {len(seen)} values drawn, {start} of them "
          "before they were, none twice")


if __name__ == "__main__":
    if sys.argv[1] == "drawn":
        drawn(sys.argv[2:])
    else:
        {"cycles": cycles, "memory": memory}[sys.argv[1]](
            sys.argv[2], sys.argv[3], int(sys.argv[4]))
