"""What the two scenarios of tiny mapped items share."""

from __future__ import annotations

import time

from bench import tasks
from bench.model import Measurement
from bench.peers import POOLS
from bench.warm import note_of_warming, wait_warm


def measure_map(subject: str, workers: int, count: int, chunksize: int | None) -> Measurement:
    """Microseconds per item of one `map` of `count` ints through `x + 1`, on a warm pool; the results are checked."""
    items = list(range(count))
    session = POOLS[subject].open(workers)
    try:
        started = wait_warm(session, workers)
        began = time.perf_counter()
        results = session.map(tasks.increment, items, chunksize)
        seconds = time.perf_counter() - began
    finally:
        session.close()
    assert results == [x + 1 for x in items], "the results are wrong"
    return Measurement({"item": seconds / count * 1e6}, note_of_warming(started, workers))
