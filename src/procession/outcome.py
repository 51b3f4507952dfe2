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


@dataclass(slots=True)
class Outcome:
    """The end of one item: its position, and a value or an error."""

    index: int
    kind: OutcomeKind
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0  #: that the item ran in its worker

    def unwrap(self) -> Any:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value


def kind_of(error: BaseException) -> OutcomeKind:
    """The kind of outcome that an error stands for."""
    from procession.errors import WorkerDied

    if isinstance(error, WorkerDied):
        return OutcomeKind.DIED
    if isinstance(error, CancelledError):
        return OutcomeKind.CANCELLED
    return OutcomeKind.ERROR
