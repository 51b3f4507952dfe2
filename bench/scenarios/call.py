"""call: the latency of one task at a time, `submit(f, 1).result()`, beside the raw round trip in the same round."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench import raw, tasks
from bench.forked import forked_child
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import PEERS, POOLS
from bench.warm import note_of_warming, wait_warm

RAW = "raw"
BATCH = 25
"""Calls between two looks at the clock."""


def cost_per_call(call: Callable[[], object], seconds: float) -> float:
    """Microseconds per call, over as many calls as fit in `seconds`; a first tenth of it is not counted."""
    _calls_within(call, seconds / 10)
    began = time.perf_counter()
    done = _calls_within(call, seconds)
    return (time.perf_counter() - began) / done * 1e6


def _calls_within(call: Callable[[], object], seconds: float) -> int:
    end = time.perf_counter() + seconds
    done = 0
    while done == 0 or time.perf_counter() < end:
        for _ in range(BATCH):
            call()
        done += BATCH
    return done


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per call, the same time for each subject."""
    seconds = size["milliseconds"] / 1000
    if subject == RAW:
        with forked_child(raw.serve) as connection:
            return Measurement({"call": cost_per_call(lambda: raw.round_trip(connection, (0, 1)), seconds)})
    session = POOLS[subject].open(size["workers"])
    try:
        started = wait_warm(session, size["workers"])
        cost = cost_per_call(lambda: session.call(tasks.increment, 1), seconds)
    finally:
        session.close()
    return Measurement({"call": cost}, note_of_warming(started, size["workers"]))


SCENARIO = Scenario(
    name="call",
    title="submit(f, 1).result(), one after another",
    metrics=(Metric("call", "us"),),
    targets=(Target("call", 0.5, PEERS), Target("call", 3.0, (RAW,))),
    subjects=(OURS, RAW, *PEERS),
    full={"workers": 2, "milliseconds": 600},
    quick={"workers": 2, "milliseconds": 20},
    measure=measure,
)
