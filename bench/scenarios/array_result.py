"""array-result: one call that returns an array of 64 MB, which is dropped before the next call."""

from __future__ import annotations

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import DATA_PEERS
from bench.scenarios.calling import measure_call


def measure(subject: str, size: Size) -> Measurement:
    """Milliseconds of a call."""
    from bench import arrays

    megabytes = size["megabytes"]
    return measure_call(
        subject,
        size,
        arrays.ones,
        prepare=lambda: megabytes,
        check=lambda _, result: arrays.total(result) == megabytes * 1_000_000 // 8,
    )


SCENARIO = Scenario(
    name="array-result",
    title="one call that returns an array of 64 MB",
    metrics=(Metric("call", "ms"),),
    targets=(Target("call", 0.2, DATA_PEERS),),
    subjects=(OURS, *DATA_PEERS),
    full={"workers": 2, "megabytes": 64, "repeats": 7},
    quick={"workers": 2, "megabytes": 2, "repeats": 1},
    measure=measure,
    requires=("numpy",),
)
