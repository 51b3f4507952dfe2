"""Workers started before the clock is: a pool that starts its workers late is not charged for it in every scenario."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import tasks
from bench.peers import POOLS
from bench.peers.base import Session

PAUSE = 0.02
"""Seconds each warming item holds its worker, so that its neighbours go to others."""


def wait_warm(session: Session, workers: int, seconds: float = 60.0) -> int:
    """Run short waiting items until each of `workers` workers has had one, or `seconds` are over; how many had one.

    Also collects the garbage of the start, so that its collection does not fall into the measurement.
    """
    seen: set[int] = set()
    end = time.perf_counter() + seconds
    while len(seen) < workers and time.perf_counter() < end:
        pids = session.map(tasks.pid_after, [PAUSE] * (2 * workers), chunksize=1)
        seen.update(pid for pid in pids if isinstance(pid, int))
    gc.collect()
    return len(seen)


def note_of_warming(started: int, workers: int) -> str:
    """Empty when all were started, else how many were."""
    return "" if started >= workers else f"only {started} of {workers} workers took an item while warming"


@contextmanager
def warm_session(subject: str, workers: int) -> Iterator[tuple[Session, str]]:
    """An open pool of the subject whose workers have started, and a note if not all have; it is closed in the end."""
    session = POOLS[subject].open(workers)
    try:
        yield session, note_of_warming(wait_warm(session, workers), workers)
    finally:
        session.close()
