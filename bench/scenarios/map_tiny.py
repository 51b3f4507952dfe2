"""map-tiny: `map` of a million ints through `x + 1` with the library's default chunks.

Peers that send each item by itself by default (the executors) would take minutes for a figure that hardly depends on
the count: they run a slice of the items, their cost per item is compared, and a note says so.
"""

from __future__ import annotations

from dataclasses import replace

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import PEERS, POOLS
from bench.scenarios.mapping import measure_map


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per item, the whole `map` call over its items."""
    count = size["items"] if POOLS[subject].batches else size["slice"]
    measurement = measure_map(subject, size["workers"], count, chunksize=None)
    if count == size["items"]:
        return measurement
    return replace(measurement, note=f"{count:,} items only. {measurement.note}".strip())


SCENARIO = Scenario(
    name="map-tiny",
    title="map of 1,000,000 ints through x+1, default chunks",
    metrics=(Metric("item", "us"),),
    targets=(Target("item", 0.9, PEERS),),
    subjects=(OURS, *PEERS),
    full={"workers": 2, "items": 1_000_000, "slice": 20_000},
    quick={"workers": 2, "items": 5_000, "slice": 200},
    measure=measure,
)
