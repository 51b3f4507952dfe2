"""When a run is over before all of its items are.  Pure: outcomes in, a verdict out.

Sees the outcomes in the order in which they come; what comes behind the end does not count any more.  Where values
are given out in the items' order, whether there are enough is asked as they are given out (``is_enough``), so that
the last of them does not depend on chance.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from procession.checks import OnError
from procession.errors import TaskCancelled, TooManyFailures

if TYPE_CHECKING:
    from procession.options import TaskOptions
    from procession.wire.outcomes import Outcomes

#: Where the number of all items is not known, a share is of those that are done, once there are so many.
_ENOUGH_FOR_A_SHARE = 20


class Halt(Enum):
    """Why a run is over."""

    ERROR = "an item failed"  #: under ``on_error="stop"``
    ENOUGH = "there are enough values"
    FAILED = "it cannot go on"  #: too many failures, a journal that cannot be written


class Halting:
    """The rule of one run."""

    def __init__(self, options: TaskOptions, total: int | None, *, stop_at_errors: bool, ordered: bool) -> None:
        self.halt: Halt | None = None
        self.error: BaseException | None = None  #: that ``Halt.FAILED`` is about
        self._total = total
        self._stop_at_errors = stop_at_errors and options.on_error is OnError.STOP
        self._limit = options.max_failures
        self._stop_when = options.stop_when
        self._sees_values = options.stop_when is not None and not ordered
        self._done = self._values = self._failures = 0

    def fail(self, error: BaseException) -> None:
        """The run cannot go on."""
        if self.halt is None:
            self.halt, self.error = Halt.FAILED, error

    def see(self, outcomes: Outcomes) -> int:
        """Look at outcomes; return how many of them, from the first on, still count."""
        if self.halt is not None:
            return 0
        errors, count = outcomes.errors, len(outcomes.values)
        if not errors and not self._sees_values:
            self._done += count
            return count
        for offset, value in enumerate(outcomes.values):
            self._done += 1
            error = errors.get(offset)
            if error is not None:
                self._see_error(error)
            elif self._sees_values:
                self.is_enough(value)
            if self.halt is not None:
                return offset + 1  # type: ignore[unreachable]  # what is seen changes it
        return count

    def is_enough(self, value: Any) -> bool:
        """Count a value; return whether it is the last one that is wanted."""
        self._values += 1
        if self._stop_when is None:
            return False
        try:
            over = self._stop_when(value) if callable(self._stop_when) else self._values >= self._stop_when
            if over:
                self.halt = self.halt or Halt.ENOUGH
        except Exception as error:
            self.fail(error)
        return self.halt is not None

    def _see_error(self, error: BaseException) -> None:
        if isinstance(error, TaskCancelled):
            return
        self._failures += 1
        if self._limit is not None and self._failures > self._allowed():
            failure = TooManyFailures(self._failures, self._done, str(self._limit))
            failure.__cause__ = error
            self.fail(failure)
        elif self._stop_at_errors:
            self.halt = Halt.ERROR

    def _allowed(self) -> float:
        """How many failures there may be."""
        limit = self._limit
        if limit is None:
            return float("inf")
        if limit.share is None:
            return limit.count or 0
        if self._total is not None:
            return limit.share * self._total
        return limit.share * self._done if self._done >= _ENOUGH_FOR_A_SHARE else float("inf")


def make_halting(
    options: TaskOptions, total: int | None, *, stop_at_errors: bool = False, ordered: bool = False
) -> Halting | None:
    """The rule of a run, or None if it ends with its items."""
    stops = stop_at_errors and options.on_error is OnError.STOP
    if stops or options.stop_when is not None or options.max_failures is not None:
        return Halting(options, total, stop_at_errors=stop_at_errors, ordered=ordered)
    return None
