"""many-small: `map` of 10,000 arrays of 40 kB each: data that is much in all, and little by the piece.

A peer's figure is the better one of two: with its default chunks, and with chunksize 1. Procession's is the default's.
"""

from __future__ import annotations

from dataclasses import replace

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import DATA_PEERS, POOLS
from bench.repeats import median_seconds
from bench.warm import warm_session


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per item, the whole `map` call over its items."""
    if subject == OURS:
        return map_arrays(subject, size, None)
    single = map_arrays(subject, size, 1)
    if not POOLS[subject].batches:
        return noted(single, "chunksize 1, which is its default")
    default = map_arrays(subject, size, None)
    if default.values["item"] <= single.values["item"]:
        return noted(default, "default chunks, better than chunksize 1")
    return noted(single, "chunksize 1, better than the default")


def noted(measurement: Measurement, which: str) -> Measurement:
    """The measurement with a note of which chunks it is of, before what it says already."""
    return replace(measurement, note=f"{which}. {measurement.note}".strip())


def map_arrays(subject: str, size: Size, chunksize: int | None) -> Measurement:
    """Microseconds per item under this chunksize, on a warm pool."""
    import numpy as np

    count, length = size["items"], size["length"]
    items = [np.full(length, float(number)) for number in range(count)]
    with warm_session(subject, size["workers"]) as (session, note):
        seconds = median_seconds(
            size["repeats"],
            lambda arrays: session.map(len, arrays, chunksize),
            prepare=lambda: items,
            check=lambda _, results: results == [length] * count,
        )
    return Measurement({"item": seconds / count * 1e6}, note)


SCENARIO = Scenario(
    name="many-small",
    title="map of len over 10,000 arrays of 40 kB each",
    metrics=(Metric("item", "us"),),
    targets=(Target("item", 1.0, DATA_PEERS),),
    subjects=(OURS, *DATA_PEERS),
    full={"workers": 2, "items": 10_000, "length": 5000, "repeats": 5},
    quick={"workers": 2, "items": 50, "length": 5000, "repeats": 1},
    measure=measure,
    requires=("numpy",),
)
