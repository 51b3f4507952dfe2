"""import: what `import procession` costs an interpreter that has imported nothing yet."""

from __future__ import annotations

import statistics
import subprocess
import sys

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target

REFERENCE = "multiprocessing.pool"
PROGRAM = "from time import perf_counter as now; began = now(); import {module}; print(now() - began)"


def import_seconds(module: str) -> float:
    """Seconds that importing `module` takes in a fresh interpreter, measured inside it; compiled files are cached."""
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(subject: str, size: Size) -> Measurement:
    """The median of several fresh interpreters, in milliseconds; one before them, uncounted, fills the caches."""
    import_seconds(subject)
    taken = [import_seconds(subject) for _ in range(size["interpreters"])]
    return Measurement({"import": statistics.median(taken) * 1000})


SCENARIO = Scenario(
    name="import",
    title="import procession, beside import multiprocessing.pool",
    metrics=(Metric("import", "ms"),),
    targets=(Target("import", 1.5, (REFERENCE,)),),
    subjects=(OURS, REFERENCE),
    full={"interpreters": 7},
    quick={"interpreters": 1},
    measure=measure,
)
