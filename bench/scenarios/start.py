"""start: from before a new pool to its first result, of a function whose module imports numpy; then once more.

Each measurement has a fresh interpreter, in which the library and the function's module are imported before the clock
starts (so a forked worker has numpy already, and a worker of a fork server has to import it). "again" is a second pool
after the first was closed, in the same process. joblib keeps its workers between the two, as it does for its users.
"""

from __future__ import annotations

import importlib
import time

from bench.model import OURS, Measurement, Metric, Scenario, Size, Target
from bench.peers import PEERS, POOLS
from bench.peers.base import Function, Peer

FORKSERVERS = ("pool-forkserver", "futures-forkserver")


def to_first_result(peer: Peer, function: Function, workers: int) -> float:
    """Milliseconds from before the pool's construction to its first result; closing it is not counted."""
    began = time.perf_counter()
    session = peer.open(workers)
    try:
        session.call(function, 10)
        return (time.perf_counter() - began) * 1000
    finally:
        session.close()


def measure(subject: str, size: Size) -> Measurement:
    """Milliseconds to the first result of the first pool of this process, and of the second."""
    function: Function = importlib.import_module("bench.numeric").total
    first = to_first_result(POOLS[subject], function, size["workers"])
    again = to_first_result(POOLS[subject], function, size["workers"])
    return Measurement({"first": first, "again": again})


SCENARIO = Scenario(
    name="start",
    title="new pool to first result of a function of a module that imports numpy; again in the same process",
    metrics=(Metric("first", "ms"), Metric("again", "ms")),
    targets=(Target("first", 0.5, FORKSERVERS), Target("again", 30.0)),
    subjects=(OURS, *PEERS),
    full={"workers": 2},
    quick={"workers": 2},
    measure=measure,
    requires=("numpy",),
)
