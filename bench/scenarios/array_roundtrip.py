"""array-roundtrip: one call with an array of 64 MB, which the worker doubles in place and returns."""

from __future__ import annotations

from dataclasses import replace

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import DATA_PEERS
from bench.scenarios.calling import measure_call

READ_ONLY = ("joblib",)
"""Peers that give the worker an array that it may not change."""


def measure(subject: str, size: Size) -> Measurement:
    """Milliseconds of a call."""
    from bench import arrays

    made = arrays.ramps(size["megabytes"])
    measurement = measure_call(
        subject,
        size,
        arrays.doubled if subject in READ_ONLY else arrays.double,
        prepare=lambda: next(made),
        check=lambda array, result: arrays.total(result) == 2 * arrays.total(array),
    )
    if subject not in READ_ONLY:
        return measurement
    return replace(measurement, note=f"its arrays are read-only, so `a * 2`, not `a *= 2`. {measurement.note}".strip())


SCENARIO = Scenario(
    name="array-roundtrip",
    title="one call with an array of 64 MB, doubled in place and returned",
    metrics=(Metric("call", "ms"),),
    targets=(Target("call", 0.15, DATA_PEERS),),
    subjects=(OURS, *DATA_PEERS),
    full={"workers": 2, "megabytes": 64, "repeats": 7},
    quick={"workers": 2, "megabytes": 2, "repeats": 1},
    measure=measure,
    requires=("numpy",),
)
