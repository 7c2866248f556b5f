# SPDX-License-Identifier: Apache-2.0
"""bench_lib.py - what the parts of scripts/bench share

The bench runs in network, mount and process namespaces of its own: two nodes in
one network would collide, and whatever was started ends with its first process,
even when that is killed. That first process only waits for the others; the work
is done in a child of it.
"""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
SCRIPTS = os.path.join(TOP, "scripts")
BUILD = os.environ.get("SANDBOXD_BUILD", os.path.join(TOP, "build"))
CTL = os.path.join(BUILD, "sandboxctl")
IMAGE = "bench:1"
MIB = 1 << 20
MEMORY_MIB = 4096
PROGRAMS = ["bench_client", "bench_node", "bench_net", "bench_rules",
            "peer_init"]
HOST_NET = "BENCH_HOST_NET"
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    pass


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


def run(*argv, **kw):
    """A command's result; its text is captured."""
    check = kw.pop("check", True)
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("text", True)
    kw.setdefault("stdin", subprocess.DEVNULL if "input" not in kw else None)
    if kw["stdin"] is None:
        del kw["stdin"]
    done = subprocess.run([str(a) for a in argv], **kw)
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, argv))}: status {done.returncode}")
    return done


def clock(fn, *args):
    start = time.monotonic()
    fn(*args)
    return (time.monotonic() - start) * 1e3


def wait_for(what, fn, seconds=60, step=0.01):
    until = time.monotonic() + seconds
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(step)


# ---- namespaces ----

def enter_namespaces():
    """Start over in namespaces of our own, below a process that reaps."""
    if HOST_NET in os.environ:
        forward_and_reap()
        return
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    os.set_inheritable(fd, True)
    os.environ[HOST_NET] = str(fd)
    argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
            "--mount-proc", sys.executable] + sys.argv
    try:
        os.execvp("unshare", argv)
    except FileNotFoundError:
        sys.exit("bench: needs unshare (util-linux)")


def forward_and_reap():
    """The child returns; the parent, first of its namespace, waits."""
    child = os.fork()
    if child == 0:
        LIBC.prctl(1, signal.SIGTERM, 0, 0, 0)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        run("ip", "link", "set", "lo", "up")
        # Other nodes of this machine are not ours to count.
        for path in ("/run/sandboxd-nodes", "/run/netns"):
            os.makedirs(path, exist_ok=True)
            run("mount", "-t", "tmpfs", "none", path)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    while True:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 255)


def in_host_network():
    """For subprocess: where packages come from."""
    LIBC.setns(int(os.environ[HOST_NET]), 0x40000000)


def build():
    run("make", "-s", "-C", BUILD, "-j2", *[f"tests/bench/{p}" for p in PROGRAMS],
        "tests/net/net_driver", stdout=sys.stderr)


def program(name):
    return os.path.join(BUILD, "tests/bench", name)


# ---- numbers ----

def spread(values):
    values = sorted(values)
    return {"median": statistics.median(values), "min": values[0],
            "max": values[-1], "n": len(values),
            "p99": values[min(len(values) - 1, int(len(values) * 0.99))]}


def number(x):
    if x >= 100 or x == int(x):
        return f"{x:.0f}"
    return f"{x:.2f}" if x >= 1 else f"{x:.3f}"


class Bench:
    """One run: its options, its results, what is to be taken down."""

    def __init__(self, options):
        self.options = options
        self.count = options["count"]
        self.quick = options["quick"]
        self.results = []
        self.began = time.monotonic()
        self.machine = {}
        self.closers = []
        self.node = None
        self.left_before = self.census()
        # QEMU's own users go through it to what lies in it.
        self.work = tempfile.mkdtemp(prefix="sandboxd-bench-", dir="/var/tmp")
        os.chmod(self.work, 0o711)

    def part(self, name):
        say(f"{name} ({int(time.monotonic() - self.began)} s)")
        print(f"\n== {name}")

    def rounds(self, n, what):
        """range(n), telling on stderr how far it is."""
        for i in range(n):
            if sys.stderr.isatty():
                print(f"\r{what}: {i + 1}/{n}  ", end="", file=sys.stderr,
                      flush=True)
            yield i
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def report(self, part, name, inside, ours, peers=(), unit="ms",
               more_is_better=False, us="sandboxd"):
        """@ours: values; @peers: [(name, values)]; those without are left out."""
        s = spread(ours)
        entry = {"part": part, "name": name, "inside_the_clock": inside,
                 "unit": unit, "ours": s, "samples": list(ours), "peers": []}
        print(f"\n{name}   (clock: {inside})")
        self.line(us, s, unit)
        for peer, values in peers:
            if not values:
                continue
            p = spread(values)
            ratio = p["median"] / s["median"] if s["median"] else 0
            if more_is_better and p["median"]:
                ratio = s["median"] / p["median"]
            entry["peers"].append({"name": peer, "spread": p, "ratio": ratio,
                                   "samples": list(values)})
            self.line(peer, p, unit, f"  ratio {ratio:.2f}")
        sys.stdout.flush()
        self.results.append(entry)

    def report_traffic(self, rows, found, us):
        """@rows: [(name, inside the clock, unit)], of a throughput first; @found:
        for each way, the values of each row; @us: which way is ours."""
        for i, (name, inside, unit) in enumerate(rows):
            values = {k: v[i] for k, v in found.items()}
            self.report("network", name, inside, values[us],
                        [(k, v) for k, v in values.items() if k != us],
                        unit=unit, more_is_better=i == 0, us=us)

    def line(self, name, s, unit, tail=""):
        p99 = f"  p99 {number(s['p99'])}" if s["n"] >= 100 else ""
        print(f"  {name:<36} {number(s['median']):>8} {unit}  "
              f"[{number(s['min'])} .. {number(s['max'])}]{p99}  "
              f"n={s['n']}{tail}")

    def note(self, part, name, text, **values):
        print(f"  {name}: {text}")
        sys.stdout.flush()
        self.results.append({"part": part, "name": name, "text": text,
                             **values})

    def print_machine(self):
        model = "unknown"
        with open("/proc/cpuinfo") as f:
            m = re.search(r"model name\s*: (.*)", f.read())
            if m:
                model = m.group(1)
        with open("/proc/meminfo") as f:
            memory = int(f.read().split()[1]) >> 10
        self.machine = {"cpu": model, "cpus": os.cpu_count(),
                        "memory_mib": memory, "kernel": os.uname().release,
                        "load": os.getloadavg()[0]}
        print(f"{model}, {os.cpu_count()} CPUs, {memory} MiB, Linux "
              f"{os.uname().release}, load before {os.getloadavg()[0]:.2f}")

    def start_node(self, *sets):
        """The node, up with these settings; started once a run."""
        if self.node:
            self.node.restart(*sets)
            return self.node
        self.node = Node(self.options["state"])
        self.closers.append(self.node.down)
        self.node.up(*sets)
        self.node.image()
        info = self.node.info()
        self.machine["accelerator"] = info["accelerator"]
        self.machine["qemu"] = info["qemuVersion"]
        self.machine["libvirt"] = info["libvirtVersion"]
        self.machine["guest_kernel"] = info["guestKernel"].split()[0]
        print(f"guests: {info['accelerator']}, QEMU {info['qemuVersion']}, "
              f"libvirt {info['libvirtVersion']}, Linux "
              f"{self.machine['guest_kernel']}, agents by {info['agentLink']}")
        return self.node

    def close(self):
        say("taking down")
        while self.closers:
            try:
                self.closers.pop()()
            except (Failed, OSError) as e:
                say(f"taking down: {e}")
        shutil.rmtree(self.work, ignore_errors=True)
        left = self.census() - self.left_before
        if left:
            say("something is left:\n" + "\n".join(sorted(left)))

    def census(self):
        return set(run(os.path.join(SCRIPTS, "census"), "--state",
                       self.options["state"], check=False).stdout.splitlines())

    def write_json(self, path):
        with open(path, "w") as f:
            json.dump({"machine": self.machine, "results": self.results}, f,
                      indent=1)


class Node:
    """A node of our own, with what the benchmarks need in it."""

    # Without pool unless a part wants one, and with room for what is asked.
    BASE = ["limits.sandboxes_max=1000", "limits.create_rate=10000",
            "limits.create_burst=10000", "limits.vcpu_overcommit=100",
            "limits.memory_overcommit=20", "limits.disk_overcommit=50",
            "guest.templates=yes", "pool.min=0", "pool.max=0"]

    def __init__(self, state):
        self.state = state
        self.uri = ""
        self.pids = []

    def command(self, what, *sets):
        argv = [os.path.join(SCRIPTS, "node"), what, "--state", self.state]
        for s in sets:
            argv += ["--set", s]
        out = run(*argv, pass_fds=()).stdout
        for line in out.splitlines():
            key, _, value = line.partition("=")
            value = value.strip().strip("'")
            if key == "socket":
                os.environ["SANDBOXD_CONNECT"] = value
            elif key == "libvirt_uri":
                self.uri = value
            elif key == "pid":
                self.pid = int(value)
        return out

    def up(self, *sets):
        # What a run that was killed left in the directory.
        self.command("down")
        # And what another part wanted of the network is not there now.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.state, "settings"))
        self.command("up", *self.BASE, *sets)

    def restart(self, *sets):
        self.command("restart", *self.BASE, *sets)

    def down(self):
        self.command("down")

    def image(self):
        images = json.loads(run(CTL, "--json", "image", "list").stdout)
        if any(i["name"] == IMAGE for i in images):
            return
        say("making the guest's image (with sshd and qemu-ga)")
        run(CTL, "image", "build", os.path.join(HERE, "recipe"), "--name",
            IMAGE, stdout=sys.stderr, preexec_fn=in_host_network)

    def info(self):
        return json.loads(run(CTL, "--json", "node").stdout)

    def create(self, **opts):
        argv = [CTL, "create", "--image", IMAGE, "--timeout", "24h",
                "--no-idle-pause", "--memory", MEMORY_MIB]
        for k, v in opts.items():
            argv += ["--" + k.replace("_", "-"), str(v)]
        return run(*argv).stdout.strip()

    def exec(self, sandbox, *argv, **kw):
        return run(CTL, "exec", *kw.pop("options", []), sandbox, "--", *argv,
                   **kw)

    def terminate(self, sandbox):
        run(CTL, "terminate", sandbox, check=False)

    def wait_pool(self, n):
        wait_for("the pool", lambda: self.info().get("poolReady", 0) >= n, 120,
                 0.02)

    def domains(self):
        return run("virsh", "-q", "-c", self.uri, "list",
                   "--uuid").stdout.split()

    def qemus(self):
        """pid of each guest's QEMU by its domain's name."""
        found = {}
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{p}/cmdline") as f:
                    m = re.search(r"guest=(sbx-[0-9a-f-]+)", f.read())
            except OSError:
                continue
            if m:
                found[m.group(1)] = int(p)
        return found


def client(*argv, **env):
    """What bench_client printed."""
    out = run(program("bench_client"), *argv,
              env=dict(os.environ, **{k: str(v) for k, v in env.items()}))
    return json.loads(out.stdout)
