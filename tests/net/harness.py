#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""harness.py - runs the tests of the network, and runs them broken

Each test is a function whose name is a sentence, with a table's worth of ways
to break it beside it (`breaks`): the rule that it is about is taken out, or what
the engine does is undone, and then the test must fail. A test that passes
without its rule proves nothing.

usage: run.sh [--list] [--break] [--no-break] [PATTERN]..
"""
import contextlib
import fnmatch
import importlib
import re
import traceback

from rig import *

MODULES = ["test_packets", "test_names", "test_splice", "test_streams",
           "test_life", "test_crash", "test_others"]
TESTS = []
MARK = b"sandboxd-net-test-mark"
SECONDS = 120
# What is refused at once is not left to a timer: the shortest is 5 s. No test
# asks for more of a machine that is slow or busy; where it is the speed that
# is promised the best of a few tries counts (best_of).
AT_ONCE = 3.0


# Slot 0's first group in sets of addresses.
WHOSE = "0x53420000 . 0"


def test(*breaks, seconds=SECONDS):
    def add(fn):
        TESTS.append((fn, breaks, seconds))
        return fn
    return add


def nft(script):
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)


# ---- ways to break the node ------------------------------------------------
#
# Each is a function of the rig that gives a context; within it the test runs a
# second time.

def passed_over(_line):
    return ""


@contextlib.contextmanager
def as_it_is(rig, before, action, after_it):
    """What the test asks of the engine is passed over: its policy is the last
    one there was."""
    do = rig.net.do
    before()
    rig.broken = True
    try:
        action()
        rig.net.do = passed_over
        yield
    finally:
        rig.broken = False
        rig.net.do = do
        # A test may have stopped it and left that to us.
        os.kill(rig.net.p.pid, signal.SIGCONT)
        after_it()
        rig.anew()


def stopped(rig):
    """The engine stands still."""
    return as_it_is(rig, lambda: os.kill(rig.net.p.pid, signal.SIGSTOP),
                    lambda: None, lambda: None)


def kernel(action):
    """@action changes the kernel's rules. The engine does all it ever does but
    mend them: names are learned, connections are made for the splice."""
    return lambda rig: as_it_is(rig, lambda: rig.net.do("mend off"), action,
                                lambda: rig.net.do("mend on"))


def asleep(rig):
    """An engine that does nothing."""
    return stopped(rig)


@contextlib.contextmanager
def altered(rig, change):
    do = rig.net.do
    rig.net.do = lambda line: do(change(line))
    try:
        yield
    finally:
        rig.net.do = do


def told(pattern, instead):
    """An engine that is told something else: a rule less, another verdict."""
    return lambda rig: altered(rig, lambda line: re.sub(pattern, instead, line))


def ruined(action, word="attach"):
    """@action changes the kernel's rules after each such command, and is not
    mended; the engine does what it is told."""
    @contextlib.contextmanager
    def breaker(rig):
        do = rig.net.do

        def spoiled(line):
            answer = do(line)
            if line.split()[0] == word:
                do("mend off")
                action()
            return answer
        rig.net.do = spoiled
        try:
            yield
        finally:
            rig.net.do = do
            do("mend on")
            rig.anew()
    return breaker


@contextlib.contextmanager
def killed_and(rig, action):
    kill = rig.net.kill

    def spoiled():
        kill()
        action()
    rig.net.kill = spoiled
    try:
        yield
    finally:
        rig.net.kill = kill


def when_killed(action):
    """@action changes the kernel's rules while there is no engine."""
    return lambda rig: killed_and(rig, action)


def of_slot(chain):
    """"p0" is the chain p of the shape that slot 0 leads to."""
    m = re.fullmatch(r"([pnuc])(\d+)", chain)
    if not m:
        return chain
    shapes = sh("nft", "list", "map", "inet", "sandboxd", "shapes")
    at = re.search(rf'"sbx{m[2]}" : (0x[\da-f]+)', shapes)
    return f"{m[1]}{int(at[1], 16)}"


def delete_rules(chain, pattern, family="inet"):
    chain = of_slot(chain)
    out = sh("nft", "-a", "list", "chain", family, "sandboxd", chain)
    found = 0
    for line in out.splitlines():
        m = re.search(r"# handle (\d+)$", line)
        if m and re.search(pattern, line) and "chain" not in line:
            nft(f"delete rule {family} sandboxd {chain} handle {m[1]}")
            found += 1
    if not found:
        raise RuntimeError(f"no rule like {pattern} in {chain}")


def without(chain, pattern, family="inet"):
    return kernel(lambda: delete_rules(chain, pattern, family))


def accept_first(chain, family="inet"):
    return kernel(lambda: nft(
        f"insert rule {family} sandboxd {of_slot(chain)} accept"))


def flush(kind, name):
    return kernel(lambda: nft(f"flush {kind} inet sandboxd {of_slot(name)}"))


def open_host():
    """All three walls before the host's own addresses."""
    delete_rules("guest", "fib daddr")
    nft("flush chain inet sandboxd input\nflush map inet sandboxd hard\n")


def dumb_dns():
    """A forwarder that asks anybody anything in the resolver's place."""
    nft("insert rule inet sandboxd guest udp dport 53 accept\n"
        "insert rule inet sandboxd guest tcp dport 53 accept\n"
        "insert rule inet sandboxd forward accept\n"
        "table ip dumb {\nchain pre {\n"
        "type nat hook prerouting priority -100\n"
        'iifname "sbx*" udp dport 53 dnat to 203.0.113.53\n'
        'iifname "sbx*" tcp dport 53 dnat to 203.0.113.53\n'
        "}\n}\n")


def after(words, action):
    """An engine that does @action(line) after each of these commands. If that
    is true it stands still until the next one: it would mend it."""
    @contextlib.contextmanager
    def breaker(rig):
        do = rig.net.do

        def spoiled(line):
            os.kill(rig.net.p.pid, signal.SIGCONT)
            answer = do(line)
            if line.split()[0] in words:
                os.kill(rig.net.p.pid, signal.SIGSTOP)
                if not action(line):
                    os.kill(rig.net.p.pid, signal.SIGCONT)
            return answer
        rig.net.do = spoiled
        try:
            yield
        finally:
            rig.net.do = do
            os.kill(rig.net.p.pid, signal.SIGCONT)
            rig.anew()
    return breaker


# Mends its rules once and then not for an hour.
CARELESS = "0,0,0,0,3600000,3600000"


def careless(rig):
    nft("add chain inet sandboxd spot")
    assert wait_for(lambda: "chain spot" not in sh("nft", "list", "ruleset"), 5)


def engine(action=None, **options):
    """An engine that was started in another way."""
    @contextlib.contextmanager
    def breaker(rig):
        rig.fresh(**options)
        rig.keep_options = True
        try:
            if action:
                action(rig)
            yield
        finally:
            rig.keep_options = False
            rig.fresh()
    return breaker


# ---- what tests often do ---------------------------------------------------

def sent(rig, guest, frames, seconds=0.15):
    """How many of these frames' packets left the node."""
    sniffer = Sniffer(MARK)
    in_ns(guest, send_frames, frames)
    time.sleep(seconds)
    return sniffer.count()


def best_of(tries, limit, fn):
    """The least that fn() returns, of so many tries at most: the first below
    @limit ends it."""
    best = None
    for _ in range(tries):
        took = fn()
        best = took if best is None else min(best, took)
        if best < limit:
            break
    return best


def allow_all(rig, n=0):
    return rig.guest(n, 1, "allow")


def marked_udp(sport=4000, dport=9999):
    return udp_payload(sport, dport, MARK)


def learned_elements(n, group=0):
    """Addresses that a slot learned for a group of its rules: their times."""
    text = sh("nft", "list", "set", "inet", "sandboxd", "learned")
    return dict(re.findall(rf"0x5342{n:04x} \. 0x{group:08x} \. ([\d.]+) "
                           r"timeout (\w+)", text))


def bound():
    """Taps that rules let speak."""
    out = sh("nft", "list", "set", "inet", "sandboxd", "bind")
    return sorted(set(re.findall(r"sbx\d+", out)))


def taps():
    return {int(l.split(":")[0]): l.split(":")[1].split("@")[0].strip()
            for l in sh("ip", "-o", "link").splitlines() if " sbx" in l}


def strays(rig, *owned):
    return sorted(rig.net.do("strays " + " ".join(map(str, owned))).split())


class Background:
    """fn(*args) in a child, in a namespace, until the end of the block."""

    def __init__(self, ns, fn, *args):
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(0)
            try:
                if ns:
                    enter(ns)
                fn(*args)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Flow:
    """A connection that a child in the guest keeps talking on."""

    def __init__(self, ns, ip, port):
        self.ask, r = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.ask.close()
                self.talk(r, ns, ip, port)
            finally:
                os._exit(0)
        r.close()
        self.ask.recv(1)  # it is connected, or gone

    @staticmethod
    def talk(r, ns, ip, port):
        enter(ns)
        s = socket.create_connection((ip, port), 3)
        s.settimeout(1.0)
        r.send(b"!")
        while r.recv(1):
            try:
                s.sendall(b"again")
                r.send(b"+" if s.recv(10) else b"-")
            except OSError:
                r.send(b"-")

    def lives(self):
        try:
            self.ask.send(b"?")
            return self.ask.recv(1) == b"+"
        except OSError:
            return False

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        self.ask.close()
        os.waitpid(self.pid, 0)


def resolves(ns, name):
    """Its addresses, or none."""
    return (in_ns(ns, lookup, name, 1, GATEWAY, 1.0) or (0, []))[1]


# ---- running ---------------------------------------------------------------

class Late(Exception):
    pass


def on_alarm(_signal, _frame):
    raise Late()


def run_once(rig, fn):
    """Why it failed, or None."""
    try:
        fn(rig)
    except Late:
        raise
    except AssertionError as e:
        line = traceback.extract_tb(e.__traceback__)[-1]
        return f"{os.path.basename(line.filename)}:{line.lineno}: " \
               f"{line.line} {e}"
    except Exception:
        return traceback.format_exc()
    return None


def run_broken(rig, fn, breaker):
    with breaker(rig):
        return None if run_once(rig, fn) else "it passes without its rule too"


def run(rig, fn, breaks, seconds, whole, broken):
    why = None
    signal.alarm(seconds)
    try:
        # The broken one needs what the whole one leaves.
        why = run_once(rig, fn)
        for breaker in breaks if broken and not why else ():
            why = why or run_broken(rig, fn, breaker)
    except Late:
        why = f"took longer than {seconds} s"
    except Exception:
        why = traceback.format_exc()
    signal.alarm(0)
    return why


def main(argv):
    options = [a for a in argv if a.startswith("--")]
    patterns = [a for a in argv if not a.startswith("--")] or ["*"]
    for name in MODULES:
        importlib.import_module(name)
    chosen = [t for t in TESTS if any(fnmatch.fnmatch(t[0].__name__, p)
                                      for p in patterns)]
    if "--break" in options:
        chosen = [t for t in chosen if t[1]]
    if "--list" in options:
        for fn, breaks, _ in chosen:
            print(f"{fn.__name__} {len(breaks)}")
        return 0
    broken = "--no-break" not in options and not os.environ.get("NO_BREAKING")
    signal.signal(signal.SIGALRM, on_alarm)
    rig = Rig()
    passed = failed = 0
    try:
        for fn, breaks, seconds in chosen:
            start = time.monotonic()
            why = run(rig, fn, breaks, seconds, True, broken)
            print(f"{'ok  ' if why is None else 'FAIL'} "
                  f"{fn.__name__.replace('_', ' ')} "
                  f"({time.monotonic() - start:.1f} s"
                  f"{f', broken {len(breaks)}' if breaks and broken else ''})"
                  f"{'' if why is None else chr(10) + '     ' + why}",
                  flush=True)
            passed += why is None
            failed += why is not None
            try:
                rig.reset()
            except Exception:
                print(traceback.format_exc())
                failed += 1
                break
        if rig.net.p.poll() is None:
            rig.net.close("remove")
            left = sh("nft", "list", "ruleset") + sh("ip", "-o", "link")
            if "sandboxd" in left or "sbx" in left:
                print(f"FAIL something is left\n{left}")
                failed += 1
    finally:
        rig.end()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    # The modules import what they need from here, not from a second copy.
    sys.modules["harness"] = sys.modules["__main__"]
    sys.exit(main(sys.argv[1:]))
