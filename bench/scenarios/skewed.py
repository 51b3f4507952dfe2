"""skewed: 400 items of very unequal length under the default chunks, the longest one first, then last.

The items wait (`time.sleep`) and do not compute: the scenario is about who gets which item when, and two workers that
compute on two shared cores would measure the neighbours instead. Lengths are drawn once, from a seeded log-normal, and
drawn again outside 0.5 .. 200 ms: median 8 ms, mean 20 ms, and one of exactly 200 ms, so that half of the total,
4.00 s, is the bound.

With the longest item last, nobody who does not know the lengths beforehand can do better than start it when the other
worker goes idle: at most half of it, 100 ms or 2.5 % of the bound, is lost; the limit leaves as much again. Waking late
(some 0.1 ms an item) takes another 0.5 %, and is counted against the subject.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from bench import tasks
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import POOLS
from bench.warm import note_of_warming, wait_warm

SHORTEST = 0.0005
LONGEST = 0.2
SEED = 20


def lengths(count: int) -> list[float]:
    """Seconds of each item, the longest first; the same for every subject, round and machine."""
    draw = random.Random(SEED)
    drawn = [LONGEST]
    while len(drawn) < count:
        seconds = draw.lognormvariate(-4.7, 1.5)
        if SHORTEST <= seconds < LONGEST:
            drawn.append(seconds)
    return drawn


def bound(seconds: Sequence[float], workers: int) -> float:
    """The seconds that no schedule can go below."""
    return max(sum(seconds) / workers, *seconds)


def wall_over_bound(subject: str, seconds: Sequence[float], workers: int) -> tuple[float, str]:
    """The wall time of one `map` of these items on a warm new pool over the bound, and a note."""
    session = POOLS[subject].open(workers)
    try:
        started = wait_warm(session, workers)
        began = time.perf_counter()
        session.map(tasks.wait, seconds)
        wall = time.perf_counter() - began
    finally:
        session.close()
    return wall / bound(seconds, workers), note_of_warming(started, workers)


def measure(subject: str, size: Size) -> Measurement:
    """Wall time over the bound (1.0 is perfect), for each place of the longest item."""
    items = [length * size["percent"] / 100 for length in lengths(size["items"])]
    first, note = wall_over_bound(subject, items, size["workers"])
    last, _ = wall_over_bound(subject, items[1:] + items[:1], size["workers"])
    return Measurement({"longest first": first, "longest last": last}, note)


SCENARIO = Scenario(
    name="skewed",
    title="400 items of 0.5 to 200 ms, heavy tail, default chunks: wall time over max(total/2, longest)",
    metrics=(Metric("longest first", "x"), Metric("longest last", "x")),
    targets=(Target("longest first", 1.05), Target("longest last", 1.05)),
    subjects=(OURS, "pool-fork", "futures-fork", "joblib"),
    full={"workers": 2, "items": 400, "percent": 100},
    quick={"workers": 2, "items": 20, "percent": 10},
    measure=measure,
)
