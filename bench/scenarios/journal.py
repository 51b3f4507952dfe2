"""journal: a map of many tiny items with a journal, less the same without: what keeping an outcome costs."""

from __future__ import annotations

import importlib
import itertools
import os
import tempfile

from bench import tasks
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.repeats import median_seconds

LEAST = 1e-3
"""Microseconds an item is said to take at least, where noise lets the run without take longer."""


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per item, the file made and made durable within; "replay" when all of it is there already."""
    count = size["items"]
    expected = list(range(1, count + 1))
    names = itertools.count()
    with tempfile.TemporaryDirectory() as folder, importlib.import_module(subject).Pool(size["workers"]) as pool:

        def run(journal: str | None) -> list[object]:
            results: list[object] = pool.map(tasks.increment, range(count), journal=journal)
            return results

        def fresh() -> str:
            return os.path.join(folder, f"{next(names)}.db")

        def check(_: object, results: list[object]) -> bool:
            return results == expected

        run(None)
        plain = median_seconds(size["repeats"], lambda _: run(None), prepare=lambda: None, check=check)
        kept = median_seconds(size["repeats"], run, prepare=fresh, check=check)
        whole = fresh()
        run(whole)
        again = median_seconds(size["repeats"], run, prepare=lambda: whole, check=check)
    per_item = 1e6 / count
    return Measurement({"item": max(LEAST, (kept - plain) * per_item), "replay": again * per_item})


SCENARIO = Scenario(
    name="journal",
    title="map of 100,000 tiny items with a journal, less the same without",
    metrics=(Metric("item", "us"), Metric("replay", "us")),
    targets=(Target("item", 15.0),),
    subjects=(OURS,),
    full={"workers": 2, "items": 100_000, "repeats": 3},
    quick={"workers": 2, "items": 100, "repeats": 1},
    measure=measure,
)
