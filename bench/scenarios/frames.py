"""frames: 200 data frames of 10 MB, made one by one, through `imap`: each comes back doubled, is read, and dropped.

"peak" is how far the parent's peak of resident memory grows: a library that takes all items, or keeps all results,
needs 2 GB for each. joblib's generator is shown beside the peers that the target names.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

from bench import memory
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers.base import Session
from bench.warm import warm_session

REFERENCES = ("pool-fork", "pool-forkserver", "futures-fork")
COLUMNS = 10


def made(first: int, count: int, rows: int) -> Iterator[Any]:
    """Frames of ten columns of float64, each filled with a number of its own: `first` and those after it."""
    import numpy as np

    frame = importlib.import_module("pandas").DataFrame
    names = [f"c{number}" for number in range(COLUMNS)]
    for number in range(first, first + count):
        yield frame(np.full((rows, COLUMNS), float(number)), columns=names, copy=False)


def consume(session: Session, count: int, rows: int) -> None:
    """Have every frame doubled, and see that it was, in order."""
    from bench import arrays

    expected = 1
    result: Any
    for result in session.imap(arrays.doubled, made(expected, count, rows)):
        assert result["c3"].sum() == 2 * expected * rows, "the result is wrong"
        expected += 1
        del result
    assert expected == count + 1, "a result is missing"


def measure(subject: str, size: Size) -> Measurement:
    """Milliseconds per frame, and by how many megabytes the parent's peak grows; a few frames before are not timed."""
    importlib.import_module("pandas")
    with warm_session(subject, size["workers"]) as (session, note):
        before = memory.peak()
        consume(session, 2 * size["workers"], size["rows"])
        began = time.perf_counter()
        consume(session, size["frames"], size["rows"])
        seconds = time.perf_counter() - began
        grown = memory.peak() - before
    return Measurement({"frame": seconds / size["frames"] * 1000, "peak": grown / 1e6}, note)


SCENARIO = Scenario(
    name="frames",
    title="imap of 200 data frames of 10 MB, each doubled; what the parent's peak memory grows by",
    metrics=(Metric("frame", "ms"), Metric("peak", "MB")),
    targets=(Target("frame", 0.3, REFERENCES), Target("peak", 1500.0)),
    subjects=(OURS, *REFERENCES, "joblib"),
    full={"workers": 2, "frames": 200, "rows": 125_000},
    quick={"workers": 2, "frames": 6, "rows": 12_500},
    measure=measure,
    requires=("numpy", "pandas"),
)
