"""array-arg: one call with an array of 64 MB, summed by the worker, beside copying and summing it in one process.

The target names the peers that pickle. joblib, which writes the array to a file in memory and maps that, is shown.
"""

from __future__ import annotations

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import DATA_PEERS, PICKLING
from bench.repeats import median_seconds
from bench.scenarios.calling import measure_call

YARDSTICK = "memcpy+sum"


def measure(subject: str, size: Size) -> Measurement:
    """Milliseconds of a call."""
    from bench import arrays

    if subject == YARDSTICK:
        return copy_and_sum(size)
    made = arrays.ramps(size["megabytes"])
    return measure_call(
        subject,
        size,
        arrays.total,
        prepare=lambda: next(made),
        check=lambda array, result: bool(result == arrays.total(array)),
    )


def copy_and_sum(size: Size) -> Measurement:
    """Milliseconds of copying the array over another one, whose pages exist already, and of the copy's sum."""
    import numpy as np

    from bench import arrays

    made = arrays.ramps(size["megabytes"])
    copy = arrays.ones(size["megabytes"])

    def action(array: object) -> float:
        np.copyto(copy, array)
        return arrays.total(copy)

    seconds = median_seconds(
        size["repeats"], action, prepare=lambda: next(made), check=lambda array, result: result == arrays.total(array)
    )
    return Measurement({"call": seconds * 1000})


SCENARIO = Scenario(
    name="array-arg",
    title="one call with an array of 64 MB, summed in the worker",
    metrics=(Metric("call", "ms"),),
    targets=(Target("call", 0.15, PICKLING), Target("call", 2.5, (YARDSTICK,))),
    subjects=(OURS, YARDSTICK, *DATA_PEERS),
    full={"workers": 2, "megabytes": 64, "repeats": 7},
    quick={"workers": 2, "megabytes": 2, "repeats": 1},
    measure=measure,
    requires=("numpy",),
)
