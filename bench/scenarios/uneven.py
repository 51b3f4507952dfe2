"""uneven: what people do with a pool, on data that is made here: items that compute, and not all for equally long.

Each figure is the time of a map on two warm workers over half of what one core takes for the same: 1.0 is perfect,
and a speed-up of 1.9 is 1.05.  The machine's cores share caches and memory, so one core alone is faster than each of
two: "split" is the work cut in two halves by hand, in two forked processes, without any pool.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import POOLS
from bench.warm import warm_session

NAMES = ("mandelbrot", "logs", "thumbnails", "gzip", "pi")
PEERS = ("pool-fork", "futures-fork", "joblib")
YARDSTICK = "split"


def work(name: str, percent: int) -> tuple[Callable[[Any], Any], Sequence[Any]]:
    """The function and the items."""
    from bench import batches

    makers: dict[str, tuple[Callable[[Any], Any], Callable[[int], Any], int]] = {
        "mandelbrot": (batches.mandelbrot_row, int, 400),
        "logs": (batches.parse_log, batches.log_text, 40),
        "thumbnails": (batches.thumbnail, batches.photo, 60),
        "gzip": (batches.compress, batches.table_text, 8),
        "pi": (batches.estimate_pi, int, 60),
    }
    function, make, count = makers[name]
    return function, [make(number) for number in range(max(2, count * percent // 100))]


def split(function: Callable[[Any], Any], items: Sequence[Any]) -> None:
    """Every other item in a fork, the others here; the results go nowhere."""
    pid = os.fork()
    if not pid:
        list(map(function, items[::2]))
        os._exit(0)
    list(map(function, items[1::2]))
    os.waitpid(pid, 0)


def measure(subject: str, size: Size) -> Measurement:
    """The ratio for each kind of work, the best of some runs of both."""
    values = {}
    notes = []
    for name in NAMES:
        function, items = work(name, size["percent"])
        alone = lambda: list(map(function, items))  # noqa: B023, E731 (called here)
        if subject == YARDSTICK:
            both = best(size["repeats"], alone, lambda: split(function, items))  # noqa: B023
        else:
            with warm_session(subject, size["workers"]) as (session, note):
                both = best(size["repeats"], alone, lambda: session.map(function, items))  # noqa: B023
            notes.append(note)
        values[name] = both[1] / (both[0] / size["workers"])
    return Measurement(values, " ".join(note for note in notes if note))


def best(repeats: int, *runs: Callable[[], object]) -> list[float]:
    """Seconds of the fastest of some runs of each, after one that warms caches and imports; in turns.

    The machine is faster at one time than at another: one after the other, two of them would be measured at two times.
    """
    for run in runs:
        run()
    seconds = [[_seconds(run) for run in runs] for _ in range(repeats)]
    return [min(each) for each in zip(*seconds, strict=True)]


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


SCENARIO = Scenario(
    name="uneven",
    title="Mandelbrot rows, log files, thumbnails, gzip of 8 tables, Monte Carlo: time on two over half of one core's",
    metrics=tuple(Metric(name, "x") for name in NAMES),
    targets=(
        *(Target(name, 2 / 1.9) for name in NAMES),
        *(Target(name, 1.0, PEERS) for name in NAMES),
    ),
    subjects=(OURS, *PEERS, YARDSTICK),
    full={"workers": 2, "percent": 100, "repeats": 5},
    quick={"workers": 2, "percent": 3, "repeats": 1},
    measure=measure,
    requires=("numpy", "PIL"),
)
assert all(peer in POOLS for peer in PEERS)
