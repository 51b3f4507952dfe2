"""workers: what a tiny task costs with 2, 16, 64 and 256 workers, all started before the clock.

The work is the submit scenario's. Beside Procession only the peers that fork: the others pay for a fresh interpreter a
worker, a minute of processor time a round for a figure that no target uses.
"""

from __future__ import annotations

import time

from bench import tasks
from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import POOLS
from bench.warm import note_of_warming, wait_warm

COUNTS = (2, 16, 64, 256)


def cost_per_task(subject: str, workers: int, count: int) -> tuple[float, str]:
    """Microseconds per submitted task on a pool whose workers have all run something, and a note."""
    session = POOLS[subject].open(workers)
    try:
        started = wait_warm(session, workers)
        began = time.perf_counter()
        session.submit_many(tasks.increment, range(count))
        seconds = time.perf_counter() - began
    finally:
        session.close()
    return seconds / count * 1e6, note_of_warming(started, workers)


def measure(subject: str, size: Size) -> Measurement:
    """Microseconds per task at each number of workers, and the cost at the most over the cost at the fewest."""
    counts = [workers for workers in COUNTS if workers <= size["most"]]
    costs: list[float] = []
    notes: list[str] = []
    for workers in counts:
        cost, note = cost_per_task(subject, workers, size["tasks"])
        costs.append(cost)
        notes += [note] if note else []
    values = {f"{workers} workers": cost for workers, cost in zip(counts, costs, strict=True)}
    return Measurement({**values, "growth": costs[-1] / costs[0]}, "; ".join(notes))


SCENARIO = Scenario(
    name="workers",
    title="tiny tasks with 2, 16, 64, 256 workers: cost per task; growth is that at 256 over that at 2",
    metrics=(*(Metric(f"{workers} workers", "us") for workers in COUNTS), Metric("growth", "x")),
    targets=(Target("growth", 2.0),),
    subjects=(OURS, "pool-fork", "futures-fork"),
    full={"tasks": 20_000, "most": 256},
    quick={"tasks": 100, "most": 16},
    measure=measure,
)
