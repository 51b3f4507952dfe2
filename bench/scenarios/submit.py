"""submit: 20,000 tiny tasks handed over one by one, then all their results."""

from __future__ import annotations

import time

from bench import tasks
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import PEERS, POOLS
from bench.warm import note_of_warming, wait_warm


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per task, from before the first submit to after the last result."""
    arguments = list(range(size["tasks"]))
    session = POOLS[subject].open(size["workers"])
    try:
        started = wait_warm(session, size["workers"])
        began = time.perf_counter()
        results = session.submit_many(tasks.increment, arguments)
        seconds = time.perf_counter() - began
    finally:
        session.close()
    assert results == [x + 1 for x in arguments], "the results are wrong"
    return Measurement({"task": seconds / len(arguments) * 1e6}, note_of_warming(started, size["workers"]))


SCENARIO = Scenario(
    name="submit",
    title="20,000 tiny submits, then all results",
    metrics=(Metric("task", "us"),),
    targets=(Target("task", 0.3, PEERS),),
    subjects=(OURS, *PEERS),
    full={"workers": 2, "tasks": 20_000},
    quick={"workers": 2, "tasks": 200},
    measure=measure,
)
