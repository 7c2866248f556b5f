# SPDX-License-Identifier: Apache-2.0
"""guest_work.py - what runs in a guest that is paused again and again

usage: guest_work.py run DIR		counter, connection, database, build
       guest_work.py hold MIB		memory filled with what is known
       guest_work.py draw FILE		random bytes, as fast as they come

Each watches itself: whatever is not as it must be is a line in DIR/errors. A
listener on the guest's localhost (port 7000, 7001 with hold) answers one line
with one: "time", the wall clock in ns; "state", JSON of all that was counted;
"stop" ends the workers and answers what an inspection of all they left says.
Python's standard library only, and nothing but what the image has.
"""
import array
import glob
import hashlib
import json
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

MIB = 1 << 20
STEP_NS = 20_000_000  # clocks that differ by more were set in between
SLOT = 64


class Board:
    """Numbers that all workers see, by name."""

    NAMES = ["ticks", "timer", "sent", "received", "port_a", "port_b", "rows",
             "builds", "clock_steps", "clock_back", "stop"]

    def __init__(self):
        self.map = mmap.mmap(-1, SLOT * len(self.NAMES))

    def put(self, name, value):
        at = SLOT * self.NAMES.index(name)
        self.map[at:at + 8] = value.to_bytes(8, "little")

    def get(self, name):
        at = SLOT * self.NAMES.index(name)
        return int.from_bytes(self.map[at:at + 8], "little")


board = Board()
where = "."


def wrong(text):
    fd = os.open(f"{where}/errors", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (text + "\n").encode())
    os.fsync(fd)
    os.close(fd)


def stopping():
    return board.get("stop") != 0


# ---- a counter on a real timer, with an open file that has no name ----

def count():
    """A record a tick: number, monotonic and wall time. The difference of the
    two clocks changes only when somebody sets one."""
    kept = tempfile.TemporaryFile(dir=where)
    text = os.urandom(MIB)
    kept.write(text)
    kept.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    log = os.open(f"{where}/ticks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    last, offset, steps, n = time.monotonic_ns(), None, 0, 0
    while not stopping():
        signal.sigwait([signal.SIGALRM])
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        n += 1
        os.write(log, array.array("q", [n, before, wall]).tobytes())
        if before < last:
            wrong(f"monotonic time went from {last} to {before}")
        last = after
        # Held up in between, as by a pause: the next one tells.
        if after - before < STEP_NS // 4:
            if offset is not None and abs(wall - before - offset) > STEP_NS:
                steps += 1
                board.put("clock_steps", steps)
                if wall - before < offset:
                    board.put("clock_back", board.get("clock_back") + 1)
            if offset is None or abs(wall - before - offset) > STEP_NS:
                offset = wall - before
        board.put("ticks", n)
    kept.seek(0)
    if kept.read() != text:
        wrong("an open file without a name reads otherwise")


def check_ticks():
    ticks = array.array("q")
    with open(f"{where}/ticks", "rb") as f:
        ticks.frombytes(f.read())
    numbers = ticks[0::3]
    if numbers != array.array("q", range(1, len(numbers) + 1)):
        return "ticks are missing or doubled"
    return "" if len(numbers) == board.get("ticks") else "ticks are lost"


# ---- two processes and a connection ----

def receive(listener):
    conn, _ = listener.accept()
    expected = 1
    while True:
        data = conn.recv(8, socket.MSG_WAITALL)
        if not data and stopping():
            return
        if len(data) != 8:
            wrong(f"the connection ended after {expected - 1}")
            return
        if int.from_bytes(data, "little") != expected:
            wrong(f"received {data} for {expected}")
        conn.sendall(data)
        board.put("received", expected)
        expected += 1


def send(port):
    conn = socket.create_connection(("127.0.0.1", port))
    board.put("port_a", conn.getsockname()[1])
    board.put("port_b", port)
    n = 0
    while not stopping():
        n += 1
        data = n.to_bytes(8, "little")
        conn.sendall(data)
        if conn.recv(8, socket.MSG_WAITALL) != data:
            wrong(f"sent {n}, another came back")
        board.put("sent", n)
        time.sleep(0.005)


# ---- a database ----

def write_rows():
    """A row is acknowledged, in a file beside, once it is committed."""
    db = sqlite3.connect(f"{where}/rows.db")
    db.execute("create table rows (n integer primary key, text blob, sum text)")
    acknowledged = os.open(f"{where}/rows.ack", os.O_WRONLY | os.O_CREAT)
    n = 0
    while not stopping():
        n += 1
        text = os.urandom(200)
        db.execute("insert into rows values (?, ?, ?)",
                   (n, text, hashlib.sha256(text).hexdigest()))
        db.commit()
        os.pwrite(acknowledged, b"%d\n" % n, 0)
        board.put("rows", n)
        time.sleep(0.02)
    db.close()


def check_rows():
    """With the cache gone, so that it is the disk that is read."""
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")
    with open(f"{where}/rows.ack") as f:
        acknowledged = int(f.read())
    db = sqlite3.connect(f"{where}/rows.db")
    told = db.execute("pragma integrity_check").fetchone()[0]
    if told != "ok":
        return f"integrity_check: {told}"
    seen = 0
    for n, text, digest in db.execute("select * from rows order by n"):
        seen += 1
        if n != seen or hashlib.sha256(text).hexdigest() != digest:
            return f"row {seen} is missing or altered"
    return "" if seen == acknowledged else f"{acknowledged} rows, {seen} there"


# ---- a build ----

def build():
    """Sources to compiled files, to an archive: the same every time."""
    want = None
    sources = sorted(glob.glob(os.path.dirname(os.__file__) + "/json/*.py") +
                     glob.glob(os.path.dirname(os.__file__) + "/email/*.py"))
    os.nice(10)
    while not stopping():
        tree = f"{where}/build"
        shutil.rmtree(tree, ignore_errors=True)
        os.mkdir(tree)
        for path in sources:
            shutil.copyfile(path, f"{tree}/{os.path.basename(path)}")
        subprocess.run([sys.executable, "-m", "compileall", "-q", tree,
                        "--invalidation-mode", "unchecked-hash"], check=True)
        done = subprocess.run(
            f"cd {tree} && tar --sort=name --mtime=@0 -cf - . | gzip -1n | "
            "tee ../build.tar.gz | sha256sum", shell=True, check=True,
            stdout=subprocess.PIPE)
        want = want or done.stdout
        if done.stdout != want:
            wrong(f"build {board.get('builds') + 1} came out otherwise")
        board.put("builds", board.get("builds") + 1)


# ---- all of it ----

def started(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[19])


def guarded(work, *args):
    try:
        work(*args)
    except BaseException:
        wrong(traceback.format_exc())


def state(workers):
    found = {name: board.get(name) for name in Board.NAMES}
    found["processes"] = [[p.pid, started(p.pid)] for p in workers
                          if p.is_alive()]
    with open("/proc/net/tcp") as f:
        ends = {"0100007F:%04X" % found["port_a"],
                "0100007F:%04X" % found["port_b"]}
        found["sockets"] = sorted(
            x.split()[9] for x in f
            if {x.split()[1], x.split()[2]} == ends)
    with open(f"{where}/errors") as f:
        found["errors"] = f.read()
    return found


def stop(workers):
    board.put("stop", 1)
    for p in workers:
        p.join(60)
        if p.is_alive():
            wrong(f"{p.name} does not end")
    for check in (check_ticks, check_rows):
        told = check()
        if told:
            wrong(told)
    return state([])


def serve(port, answers):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        conn, _ = listener.accept()
        with conn, conn.makefile("rw") as f:
            for line in f:
                answer = answers[line.strip()]()
                f.write(json.dumps(answer) + "\n")
                f.flush()


def run():
    os.makedirs(where, exist_ok=True)
    open(f"{where}/errors", "w").close()
    listener = socket.create_server(("127.0.0.1", 0))
    work = [(count,), (receive, listener), (send, listener.getsockname()[1]),
            (write_rows,), (build,)]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=guarded, args=w, name=w[0].__name__)
               for w in work]
    for p in workers:
        p.start()
    serve(7000, {"time": time.time_ns, "state": lambda: state(workers),
                 "stop": lambda: stop(workers)})


# ---- memory ----

def hold(mib):
    """A block of random bytes, for each MiB begun at another place: no two
    pages are the same, and none has a zero page in it."""
    block = random.Random(1).randbytes(2 * MIB)
    memory = mmap.mmap(-1, mib * MIB) if mib else b""

    def expected(i):
        at = (i * 977) % MIB
        return block[at:at + MIB]

    def check():
        bad = [i for i in range(mib)
               if memory[i * MIB:(i + 1) * MIB] != expected(i)]
        return {"mib": mib, "bad": bad, "pid": os.getpid()}

    for i in range(mib):
        memory[i * MIB:(i + 1) * MIB] = expected(i)
    serve(7001, {"check": check})


# ---- random bytes ----

def draw(path):
    """Of every source that a program has; a number and a value a line."""
    n = 0
    sources = [lambda: os.getrandom(16).hex(),
               lambda: open("/dev/urandom", "rb", 0).read(16).hex(),
               lambda: open("/dev/random", "rb", 0).read(16).hex(),
               lambda: uuid.uuid4().hex,
               lambda: open("/proc/sys/kernel/random/uuid").read().strip(),
               lambda: "%032x" % random.Random().getrandbits(128)]
    with open(path, "a", buffering=1) as f:
        while True:
            for source in sources:
                n += 1
                f.write(f"{n} {source()}\n")
            time.sleep(0.002)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        where = sys.argv[2]
        run()
    elif sys.argv[1] == "hold":
        hold(int(sys.argv[2]))
    else:
        draw(sys.argv[2])
