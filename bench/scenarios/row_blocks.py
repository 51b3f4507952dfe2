"""row-blocks: `map` with an array of 128 MB in a partial: each of 80 tasks sorts the rows of its block and returns it.

The yardstick, "split", is the same work with nothing to hand over: two forked processes have inherited the array, sort
half of the blocks each, and return nothing. The partial is the same in every repeat, so what a library sends only once,
it has sent in the repeat that is not counted.

Peers that pickle send the array with every message. Those that send each item by itself by default (the executors) run
a slice of the tasks, their cost per block is compared, and a note says so.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from bench import split
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import DATA_PEERS, POOLS
from bench.repeats import median_seconds
from bench.warm import warm_session

YARDSTICK = "split"


def measure(subject: str, size: Size) -> Measurement:
    """Milliseconds per block, the whole `map` call over its blocks."""
    from bench import arrays

    array = arrays.noise(size["tasks"] * size["rows"], size["columns"])
    task = partial(arrays.sorted_block, array, size["rows"])
    if subject == YARDSTICK:
        return sort_in_halves(task, size)
    count = size["tasks"] if POOLS[subject].batches else size["slice"]
    measurement = map_blocks(subject, task, count, size)
    if count == size["tasks"]:
        return measurement
    return replace(measurement, note=f"{count} blocks only. {measurement.note}".strip())


def map_blocks(subject: str, task: partial[Any], count: int, size: Size) -> Measurement:
    """Milliseconds per block of the subject, on a warm pool."""
    with warm_session(subject, size["workers"]) as (session, note):
        seconds = median_seconds(
            size["repeats"],
            lambda numbers: session.map(task, numbers),
            prepare=lambda: range(count),
            check=lambda _, results: len(results) == count and bool((results[-1] == task(count - 1)).all()),
        )
    return Measurement({"block": seconds / count * 1000}, note)


def sort_in_halves(task: partial[Any], size: Size) -> Measurement:
    """Milliseconds per block of the yardstick, from the signal to begin until both are done."""
    share = size["tasks"] // size["workers"]

    def half(first: int) -> None:
        for number in range(first, first + share):
            task(number)

    works = [partial(half, worker * share) for worker in range(size["workers"])]
    with split.forked_halves(works) as run:
        seconds = median_seconds(
            size["repeats"], lambda _: run(), prepare=lambda: None, check=lambda _, result: result is None
        )
    return Measurement({"block": seconds / size["tasks"] * 1000})


SCENARIO = Scenario(
    name="row-blocks",
    title="map of 80 tasks, each sorts and returns 50 rows of an array of 128 MB that is held in a partial",
    metrics=(Metric("block", "ms"),),
    targets=(Target("block", 1.3, (YARDSTICK,)),),
    subjects=(OURS, YARDSTICK, *DATA_PEERS),
    full={"workers": 2, "tasks": 80, "rows": 50, "columns": 4000, "slice": 8, "repeats": 5},
    quick={"workers": 2, "tasks": 8, "rows": 5, "columns": 4000, "slice": 2, "repeats": 1},
    measure=measure,
    requires=("numpy",),
)
