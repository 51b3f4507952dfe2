"""map-chunk1: `map` of 50,000 tiny items with chunksize 1: what each message costs when nothing may be grouped."""

from __future__ import annotations

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import PEERS
from bench.scenarios.mapping import measure_map


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per item, the whole `map` call over its items."""
    return measure_map(subject, size["workers"], size["items"], chunksize=1)


SCENARIO = Scenario(
    name="map-chunk1",
    title="map, chunksize 1, 50,000 tiny items",
    metrics=(Metric("item", "us"),),
    targets=(Target("item", 0.6, PEERS),),
    subjects=(OURS, *PEERS),
    full={"workers": 2, "items": 50_000},
    quick={"workers": 2, "items": 200},
    measure=measure,
)
