"""Collectors: where the outcomes of a mapping's items arrive, and what becomes of them.

Each is written by the thread that drives and read by those that wait, which the GIL's ordering of
single stores suffices for: an outcome is stored before it is counted.  Taking the same outcome twice
(a reset after an interrupt reports what was in doubt) changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from procession.outcome import Outcome, OutcomeKind, kind_of
from procession.wire.outcomes import Outcomes

_UNSET: Any = object()


def _nothing() -> None:
    pass


class Collector(Protocol):
    """Takes outcomes by the positions of their items."""

    def take(self, start: int, outcomes: Outcomes) -> None:
        """Take the outcomes of consecutive items from position ``start`` on."""


class ListCollector:
    """All values of a map, in the items' order, and the errors by position."""

    def __init__(self, total: int, on_done: Callable[[], None], *, stop: bool = False) -> None:
        self.values: list[Any] = [_UNSET] * total
        self.errors: dict[int, BaseException] = {}
        self.first_error: BaseException | None = None
        self._left = total
        self._on_done = on_done
        self._stop = stop
        self.stopped = False

    @property
    def done(self) -> bool:
        """Whether every item has its outcome, or an error has stopped the rest."""
        return self._left <= 0 or self.stopped

    def take(self, start: int, outcomes: Outcomes) -> None:
        """See ``Collector``."""
        values, errors = outcomes.values, outcomes.errors
        stop = start + len(values)
        if self.values[start] is not _UNSET:  # outcomes of a chunk come in order, so its first tells
            self._take_singly(start, outcomes)
            return
        for offset, error in errors.items():
            self.errors[start + offset] = error
            self.first_error = self.first_error or error
        self.values[start:stop] = values
        self._count(len(values))

    def _take_singly(self, start: int, outcomes: Outcomes) -> None:
        fresh = 0
        for offset, value in enumerate(outcomes.values):
            if self.values[start + offset] is not _UNSET:
                continue
            error = outcomes.errors.get(offset)
            if error is not None:
                self.errors[start + offset] = error
                self.first_error = self.first_error or error
            self.values[start + offset] = value
            fresh += 1
        self._count(fresh)

    def _count(self, fresh: int) -> None:
        if not fresh:
            return
        before = self.done
        self._left -= fresh
        if self._stop and self.errors and not before:
            self.stopped = True
        if self.done and not before:
            # What is called refers to the source, and the source to us: without the reference all of them
            # go, and the memory that they hold, when the map is over, and not when the collector comes.
            on_done, self._on_done = self._on_done, _nothing
            on_done()


class StreamCollector:
    """Outcomes on their way to an iterator, in the items' order or in that of their arrival."""

    def __init__(self, on_arrival: Callable[[], None], *, ordered: bool) -> None:
        self._ordered = ordered
        self._on_arrival = on_arrival
        self._parked: dict[int, Outcome] = {}
        self._ready: deque[Outcome] = deque()
        self._seen: set[int] = set()
        self._next = 0
        self.arrived = 0
        self._sizes: dict[int, int] = {}
        self.undelivered_bytes = 0  #: of shared memory, in outcomes that have arrived and wait

    @property
    def has_next(self) -> bool:
        """Whether ``pop`` has something to give."""
        return bool(self._ready)

    @property
    def undelivered(self) -> int:
        """Outcomes that have arrived and wait for the consumer."""
        return len(self._ready) + len(self._parked)

    def pop(self) -> Outcome:
        """The next outcome."""
        outcome = self._ready.popleft()
        if self._sizes:
            self.undelivered_bytes -= self._sizes.pop(outcome.index, 0)
        return outcome

    def detach(self) -> None:
        """Announce no arrivals any more."""
        self._on_arrival = _nothing

    def take(self, start: int, outcomes: Outcomes) -> None:
        """See ``Collector``."""
        seconds = outcomes.seconds
        for offset, value in enumerate(outcomes.values):
            position = start + offset
            if position < self._next or position in self._parked or position in self._seen:
                continue
            error = outcomes.errors.get(offset)
            kind = OutcomeKind.OK if error is None else kind_of(error)
            took = seconds[offset] if seconds is not None else 0.0
            if offset in outcomes.sizes:
                self._sizes[position] = outcomes.sizes[offset]
                self.undelivered_bytes += outcomes.sizes[offset]
            self._add(Outcome(position, kind, value, error, took))
        self._on_arrival()

    def _add(self, outcome: Outcome) -> None:
        self.arrived += 1
        if not self._ordered:
            self._note_seen(outcome.index)
            self._ready.append(outcome)
            return
        self._parked[outcome.index] = outcome
        while (head := self._parked.pop(self._next, None)) is not None:
            self._ready.append(head)
            self._next += 1

    def _note_seen(self, position: int) -> None:
        """Remember what has been taken, as a low mark and the few positions above it."""
        self._seen.add(position)
        while self._next in self._seen:
            self._seen.discard(self._next)
            self._next += 1
