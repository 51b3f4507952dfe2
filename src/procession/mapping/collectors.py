"""Collectors: where the outcomes of a mapping's items arrive.

Each is written by the thread that drives and read by those that wait, which the GIL's ordering of
single stores suffices for: an outcome is stored before it is counted.  Taking the same outcome twice
(a reset after an interrupt reports what was in doubt) changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

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

    def __init__(self, total: int, on_done: Callable[[], None]) -> None:
        self.values: list[Any] = [_UNSET] * total
        self.errors: dict[int, BaseException] = {}
        self.first_error: BaseException | None = None
        self._left = total
        self._on_done = on_done
        self.stopped = False

    @property
    def done(self) -> bool:
        """Whether every item has its outcome, or the map is over before that."""
        return self._left <= 0 or self.stopped

    def take(self, start: int, outcomes: Outcomes) -> None:
        """See ``Collector``."""
        values, errors = outcomes.values, outcomes.errors
        stop = start + len(values)
        if self.values[start] is not _UNSET or self.values[stop - 1] is not _UNSET:  # they come in order, so these tell
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
        self._end(before)

    def stop(self) -> None:
        """The map is over before every item has its outcome."""
        before, self.stopped = self.done, True
        self._end(before)

    def results(self) -> dict[int, Any]:
        """The values that there are, by position."""
        values = enumerate(self.values)
        return {at: value for at, value in values if value is not _UNSET and at not in self.errors}

    def _end(self, before: bool) -> None:
        if self.done and not before:
            # What is called refers to the source, and the source to us: without the reference all of them
            # go, and the memory that they hold, when the map is over, and not when the collector comes.
            on_done, self._on_done = self._on_done, _nothing
            on_done()
