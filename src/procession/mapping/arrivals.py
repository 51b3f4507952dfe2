"""Arrivals: the outcomes of a stream on their way to its iterator, in the items' order or in that of their coming.

Outcomes come in runs of consecutive items, and stay so until they are taken: what costs a microsecond an item here is
half of what a tiny item costs in all.  Taking the same outcome twice (a reset after an interrupt reports what was in
doubt) changes nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from procession.mapping.ranges import Ranges
from procession.mapping.retries import part_of
from procession.outcome import Attempt, Outcome, OutcomeKind, kind_of
from procession.wire.outcomes import Outcomes


def _nothing() -> None:
    pass


class _Run:
    """Outcomes of consecutive items, and how many of them have been taken."""

    __slots__ = ("outcomes", "start", "taken")

    def __init__(self, start: int, outcomes: Outcomes) -> None:
        self.start = start
        self.outcomes = outcomes
        self.taken = 0

    @property
    def left(self) -> int:
        """How many have not been taken."""
        return len(self.outcomes.values) - self.taken

    def pop(self) -> Outcome:
        """The next outcome."""
        offset, outcomes = self.taken, self.outcomes
        self.taken += 1
        value, outcomes.values[offset] = outcomes.values[offset], None  # the caller alone has it
        error = outcomes.errors.get(offset)
        kind = OutcomeKind.OK if error is None else kind_of(error)
        seconds = 0.0 if outcomes.seconds is None else outcomes.seconds[offset]
        tries = outcomes.tries.get(offset)
        attempts = (*tries, Attempt(kind, error, seconds)) if tries else ()
        return Outcome(self.start + offset, kind, value, error, seconds, attempts, outcomes.replayed)


class StreamCollector:
    """Collects outcomes for one iterator.  ``pop`` and ``pop_values`` are called by one thread at a time."""

    def __init__(self, on_arrival: Callable[[], None], *, ordered: bool) -> None:
        self._ordered = ordered
        self._on_arrival = on_arrival
        self._seen = Ranges()
        self._parked: dict[int, _Run] = {}  # that wait for those before them
        self._ready: deque[_Run] = deque()
        self._next = 0  # the position that is to be given out next, in order
        self.arrived = 0
        self._over = False
        # What a journal had comes from the thread that pulls the input, the rest from the one that drives.
        self._lock = threading.Lock()
        # Each is counted by one thread at a time: by whoever takes, under the lock, and by whoever consumes.
        self._bytes_arrived = self._bytes_popped = 0

    @property
    def has_next(self) -> bool:
        """Whether ``pop`` has something to give."""
        try:
            return self._ready[0].left > 0 or len(self._ready) > 1
        except IndexError:  # a look whether there is one would come too early: another thread may take it then
            return False

    @property
    def undelivered_bytes(self) -> int:
        """Bytes of shared memory in outcomes that have arrived and wait."""
        return self._bytes_arrived - self._bytes_popped

    def pop(self) -> Outcome:
        """The next outcome."""
        run = self._head()
        outcome = run.pop()
        if run.outcomes.sizes:
            self._bytes_popped += run.outcomes.sizes.get(run.taken - 1, 0)
        if not run.left:
            self._ready.popleft()
        return outcome

    def _head(self) -> _Run:
        """The run of the next outcome; one that is used up may still be there, since a Ctrl-C strikes between lines."""
        while not self._ready[0].left:
            self._ready.popleft()
        return self._ready[0]

    def pop_values(self) -> list[Any] | None:
        """The next values, if they came together, small and without an error; else None."""
        run = self._head()
        outcomes = run.outcomes
        if outcomes.errors or outcomes.sizes:
            return None
        self._ready.popleft()
        return outcomes.values[run.taken :] if run.taken else outcomes.values

    def detach(self) -> None:
        """Announce no arrivals any more."""
        self._on_arrival = _nothing

    def take(self, start: int, outcomes: Outcomes) -> None:
        """See ``Collector``."""
        with self._lock:
            if not self._over:
                count = len(outcomes.values)
                for first, stop in self._seen.add(start, start + count):
                    part = outcomes if stop - first == count else part_of(outcomes, first - start, stop - start)
                    self._add(_Run(first, part))
        self._on_arrival()

    def end(self, *, keep: bool = True) -> None:
        """Take nothing more; what is to be kept and waits for others before it is given out without them."""
        with self._lock:
            self._over = True
            if not keep:
                self._ready.clear()
                self._parked.clear()
            self._ready.extend(self._parked[position] for position in sorted(self._parked))
            self._parked.clear()

    def _add(self, run: _Run) -> None:
        if run.outcomes.sizes:
            self._bytes_arrived += sum(run.outcomes.sizes.values())
        if self._ordered:
            self._parked[run.start] = run
            while (head := self._parked.pop(self._next, None)) is not None:
                self._ready.append(head)
                self._next += len(head.outcomes.values)
        else:
            self._ready.append(run)
        self.arrived += len(run.outcomes.values)  # last: who finds that all have arrived finds them ready
