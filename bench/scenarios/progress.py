"""progress: a map of many tiny items with a bar over the same without; the bar draws on a terminal that nobody sees."""

from __future__ import annotations

import importlib
import os
import threading

from bench import tasks
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.repeats import median_seconds


def measure(subject: str, size: Size) -> Measurement:
    """The ratio of the wall times; the runs with and without take turns."""
    tqdm = importlib.import_module("tqdm").tqdm
    master, terminal = os.openpty()
    threading.Thread(target=drain, args=(master,), daemon=True).start()
    stream = os.fdopen(terminal, "w")

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, **how: object) -> None:
            super().__init__(file=stream, ncols=80, **how)

    count = size["items"]
    with importlib.import_module(subject).Pool(size["workers"]) as pool:

        def seconds(progress: object) -> float:
            return median_seconds(
                1,
                lambda numbers: pool.map(tasks.increment, numbers, progress=progress),
                prepare=lambda: range(count),
                check=lambda _, results: len(results) == count,
            )

        seconds(None)
        pairs = [(seconds(Bar), seconds(None)) for _ in range(size["repeats"])]
    ratios = sorted(shown / plain for shown, plain in pairs)
    return Measurement({"ratio": ratios[len(ratios) // 2]})


def drain(master: int) -> None:
    """Read what is drawn, as a terminal does."""
    while True:
        try:
            if not os.read(master, 65536):
                return
        except OSError:
            return


SCENARIO = Scenario(
    name="progress",
    title="map of 1,000,000 tiny items with a bar, over the same without",
    metrics=(Metric("ratio", "x"),),
    targets=(Target("ratio", 1.05),),
    subjects=(OURS,),
    full={"workers": 2, "items": 1_000_000, "repeats": 9},
    quick={"workers": 2, "items": 1000, "repeats": 1},
    measure=measure,
)
