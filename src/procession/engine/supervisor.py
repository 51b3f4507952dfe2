"""Whether a worker that has ended is replaced.  Pure: events in, verdicts out, the clock passed in.

A death that an item caused costs that item, which is bounded by itself; planned ends are free.
What must not go on for ever is workers that end without having done anything: those are counted in
a sliding window, and too many break the pool.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto


class End(Enum):
    """Why a worker ended."""

    PLANNED = auto()  #: it was told to
    WITH_ITEM = auto()  #: while it ran an item
    UNUSED = auto()  #: when it had nothing to do
    IDLE = auto()  #: between items, with some to come
    UNSTARTED = auto()  #: before it was ready
    LOST = auto()  #: with the server that had started it, or was to


class Supervisor:
    """Counts the ends of a pool's workers."""

    WINDOW_SECONDS = 30.0

    #: The workers that are lost with a server are told one by one; it is one failure.
    LOSS_SECONDS = 0.5

    def __init__(self, workers: int) -> None:
        self._limit = max(5, workers)
        self._failures: deque[float] = deque()

    def on_end(self, end: End, now: float) -> bool:
        """Record an end; return whether the pool may go on."""
        if end in (End.PLANNED, End.WITH_ITEM, End.UNUSED):  # an unused one is replaced only when there is work
            return True
        failures = self._failures
        if end is End.LOST and failures and now - failures[-1] < self.LOSS_SECONDS:
            return True
        failures.append(now)
        while failures[0] < now - self.WINDOW_SECONDS:
            failures.popleft()
        return len(failures) <= self._limit

    def on_success(self) -> None:
        """Record that a worker has run something: starting works."""
        if self._failures:
            self._failures.clear()
