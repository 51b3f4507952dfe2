"""What became of one item: exactly one of five kinds."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from enum import Enum
from typing import Any


class OutcomeKind(Enum):
    """The five ways in which an item can end."""

    OK = "ok"  #: the function returned
    ERROR = "error"  #: it raised, or its arguments or result could not travel
    DIED = "died"  #: its worker process ended
    TIMED_OUT = "timed_out"  #: it ran longer than it may
    CANCELLED = "cancelled"  #: it was dropped


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of an item."""

    kind: OutcomeKind
    error: BaseException | None
    seconds: float | None  #: that it ran, if it was measured


@dataclass(slots=True)
class Outcome:
    """The end of one item: its position, and a value or an error."""

    index: int
    kind: OutcomeKind
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0  #: that the item ran in its worker
    attempts: tuple[Attempt, ...] = ()  #: every try of it, the last one included, if it was tried again
    replayed: bool = False  #: a journal had it; it was not run now

    def unwrap(self) -> Any:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value


def kind_of(error: BaseException) -> OutcomeKind:
    """The kind of outcome that an error stands for."""
    from procession.errors import TaskTimeout, WorkerDied

    if isinstance(error, WorkerDied):
        return OutcomeKind.DIED
    if isinstance(error, TaskTimeout):
        return OutcomeKind.TIMED_OUT
    if isinstance(error, CancelledError):
        return OutcomeKind.CANCELLED
    return OutcomeKind.ERROR
