"""share: 1,000 tasks, each writes one row of a shared array of 1 GB, without the array or a row being copied.

"task" is what the rows cost: a `map` of them less a `map` of as many tasks that do nothing. "pss" is the memory of the
parent, its workers and the server they are forked from, right after: little more than the array, once. The yardstick,
"in-process", is a loop over the rows of an ordinary array.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from typing import Any

from bench import memory, tasks
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.repeats import median_seconds
from bench.warm import warm_session

YARDSTICK = "in-process"
LEAST = 1e-6
"""Milliseconds a task is said to take at least, where noise lets the empty tasks take longer."""


def measure(subject: str, size: Size) -> Measurement:
    """Milliseconds per row, and gigabytes."""
    import numpy as np

    from bench import arrays

    shape = size["rows"], size["columns"]
    if subject == YARDSTICK:
        array = np.empty(shape)
        array[:] = 0
        written = write_rows(array, size, lambda rows: list(map(arrays.write_row, rows)))
        return measurement_of(array, written, 0.0, memory.family_pss())
    array = importlib.import_module("procession").shared_array(shape, "float64")
    array[:] = 0
    with warm_session(subject, size["workers"]) as (session, note):
        empty = median_seconds(
            size["repeats"],
            lambda numbers: session.map(tasks.nothing, numbers),
            prepare=lambda: range(size["rows"]),
            check=lambda _, results: len(results) == size["rows"],
        )
        written = write_rows(array, size, lambda rows: session.map(arrays.write_row, rows))
        return measurement_of(array, written, empty, memory.family_pss(), note)


def write_rows(array: Any, size: Size, write: Callable[[list[Any]], list[Any]]) -> float:
    """Median seconds of giving every row to `write`, each with a value that it has never had."""
    values = itertools.count(1)
    return median_seconds(
        size["repeats"],
        write,
        prepare=lambda: [(row, float(next(values))) for row in array],
        check=lambda _, results: len(results) == size["rows"],
    )


def measurement_of(array: Any, written: float, empty: float, pss: int, note: str = "") -> Measurement:
    """The values, once it is certain that every row holds the value it was given last."""
    lowest, highest = array.min(axis=1), array.max(axis=1)
    count = len(array)
    assert (lowest == highest).all(), "a row was not written as a whole"
    assert list(lowest - lowest[0]) == list(range(count)), "a value has gone to another row, or nowhere"
    assert lowest[0] > count, "only the first values have arrived"
    return Measurement({"task": max((written - empty) / count * 1000, LEAST), "pss": pss / 1e9}, note)


SCENARIO = Scenario(
    name="share",
    title="map of 1,000 tasks that each write a row of a shared array of 1 GB, less a map of empty tasks",
    metrics=(Metric("task", "ms"), Metric("pss", "GB")),
    targets=(Target("task", 0.2), Target("pss", 1.1)),
    subjects=(OURS, YARDSTICK),
    full={"workers": 2, "rows": 1000, "columns": 125_000, "repeats": 5},
    quick={"workers": 2, "rows": 20, "columns": 131_072, "repeats": 1},
    measure=measure,
    requires=("numpy",),
)
