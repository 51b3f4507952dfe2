"""stream: items of a generator through a tiny function, results in any order, with only as much read as is needed.

"item" is measured over some items; "growth" is what the parent's memory has grown by at the end of ten times as many.
The peer is the one that reads its input as it needs it, too: `multiprocessing.Pool` and the executors read all of it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Iterator

from bench import memory, tasks
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.warm import warm_session

JOBLIB = "joblib"
LEAST = 1e-3
"""Megabytes that memory is said to grow by at least, where it does not grow at all."""


def stream(subject: str, workers: int, items: Iterable[int]) -> Iterator[object]:
    """The library's own way of writing this."""
    if subject == OURS:
        with importlib.import_module("procession").Pool(workers) as pool:
            yield from pool.imap_unordered(tasks.increment, items)
        return
    joblib = importlib.import_module("joblib")
    delayed = joblib.delayed(tasks.increment)
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    yield from parallel(delayed(item) for item in items)


def count(found: Iterable[object]) -> int:
    """How many there are."""
    return sum(1 for _ in found)


def numbers(total: int) -> Iterator[int]:
    """A generator, whose length nobody knows."""
    yield from range(total)


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per item, and megabytes."""
    with warm_session(subject, size["workers"]) as (_session, note):
        assert count(stream(subject, size["workers"], numbers(size["items"] // 10))) == size["items"] // 10
        before = memory.peak()
        began = time.perf_counter()
        assert count(stream(subject, size["workers"], numbers(size["items"]))) == size["items"]
        seconds = time.perf_counter() - began
        values = {"item": seconds / size["items"] * 1e6}
        if subject == OURS:
            assert count(stream(subject, size["workers"], numbers(10 * size["items"]))) == 10 * size["items"]
        values["growth"] = max(LEAST, (memory.peak() - before) / 1e6)
    return Measurement(values, note)


SCENARIO = Scenario(
    name="stream",
    title="imap_unordered over 1,000,000 items of a generator, tiny function (memory: over 10,000,000)",
    metrics=(Metric("item", "us"), Metric("growth", "MB")),
    targets=(Target("item", 0.5, (JOBLIB,)), Target("growth", 30.0)),
    subjects=(OURS, JOBLIB),
    full={"workers": 2, "items": 1_000_000},
    quick={"workers": 2, "items": 500},
    measure=measure,
)
