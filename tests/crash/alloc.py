# SPDX-License-Identifier: Apache-2.0
"""alloc.py - the ways to an allocation, as alloc_fault.c tells them"""
import bisect
import re
import subprocess


class Way:
    """Where something is allocated, and how often it was."""

    def __init__(self, line):
        words = line.split()
        self.hash, self.count = words[1], int(words[2])

    def points(self):
        """The first there, and the last."""
        return [f"{self.hash}:{n}" for n in sorted({1, self.count})]


class Counted:
    """What a run that counts tells: all points, and how many there are."""

    def __init__(self, told, known):
        """But for the ways that are in the set @known, which grows."""
        lines = told.split("\n")
        self.ways = [Way(x) for x in lines if x.startswith("path ")]
        fresh = [w for w in self.ways if w.hash not in known]
        known.update(w.hash for w in fresh)
        self.known = len(self.ways) - len(fresh)
        self.points = [p for w in fresh for p in w.points()]
        self.allocations = int(lines[-1].split()[1])


class Names:
    """Return addresses in words."""

    def __init__(self, program):
        done = subprocess.run(["nm", "-n", program], capture_output=True,
                              text=True)
        rows = [x.split() for x in done.stdout.split("\n")]
        rows = [x for x in rows if len(x) == 3 and x[1] in "tTwW"]
        self.starts = [int(x[0], 16) for x in rows]
        self.names = [x[2] for x in rows]

    def frame(self, frame):
        m = re.fullmatch(r"crash_node\+([0-9a-f]+)", frame)
        if not m or not self.starts:
            return frame
        at = bisect.bisect(self.starts, int(m.group(1), 16) - 1) - 1
        return self.names[at]

    def hit(self, told):
        """Of "hit K CALL SIZE FRAME ..", with what allocates itself left out."""
        words = told.split()
        frames = [self.frame(x) for x in words[4:]]
        frames = [x for x in frames if x not in ("malloc", "calloc", "realloc")]
        return f"{words[2]}({words[3]}) of " + " < ".join(frames[:9])


# How a run ends in which one failed.
ENDED, DIED, WENT_ON, MISSED = "ended", "died", "went on", "missed"


def outcome(code, told):
    """None: as none may end."""
    if "hit " not in told:
        return MISSED if code == 0 else None
    return {-6: ENDED, -11: DIED, -7: DIED, -8: DIED, 0: WENT_ON}.get(code)


def summary(counted, outcomes):
    """For the line of an operation."""
    n = {x: outcomes.count(x) for x in (ENDED, DIED, WENT_ON, MISSED)}
    return (f"{len(outcomes)} points of {counted.allocations} allocations, "
            f"{len(counted.ways)} ways ({counted.known} of them tried in "
            f"another operation): {n[ENDED]} ended the engine, {n[WENT_ON]} "
            f"did not, {n[DIED]} died in a library, {n[MISSED]} were not met")
