"""Objects that go off at a chosen moment - pickled, unpickled, called, collected - in a chosen way; and awkward errors.

All are importable, so that they travel by reference. `spare` is a pid in which the object is harmless.
"""

from __future__ import annotations

import enum
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

EXIT_CODE = 43


class How(enum.Enum):
    """The ways of going off."""

    RAISE = "raise"
    EXIT = "os._exit"
    KILL = "SIGKILL"
    SYS_EXIT = "sys.exit"


DEADLY = (How.EXIT, How.KILL)


class BombError(Exception):
    """What a bomb that raises, raises."""


def go_off(how: How, where: str) -> NoReturn:
    """End this process, or raise, in the way asked for."""
    if how is How.EXIT:
        os._exit(EXIT_CODE)
    if how is How.KILL:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()  # not reached: the kernel delivers before the call returns
    if how is How.SYS_EXIT:
        sys.exit(EXIT_CODE)
    raise BombError(f"went off at {where}")


class Bomb:
    """A harmless base: how it goes off, and in which process it never does."""

    def __init__(self, how: How = How.RAISE, spare: int = 0) -> None:
        self.how = how
        self.spare = spare

    def trigger(self, where: str) -> None:
        """Go off, unless this is the spared process."""
        if os.getpid() != self.spare:
            go_off(self.how, where)


class PickleBomb(Bomb):
    """Goes off when pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        self.trigger("pickle")
        return PickleBomb, (self.how, self.spare)


class UnpickleBomb(Bomb):
    """Goes off when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.how, self.spare)


def _unpickled(how: How, spare: int) -> UnpickleBomb:
    bomb = UnpickleBomb(how, spare)
    bomb.trigger("unpickle")
    return bomb


class CallBomb(Bomb):
    """Goes off when called, with whatever arguments."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Go off."""
        self.trigger("call")


class GcBomb(Bomb):
    """Goes off when collected; spare the test's own pid."""

    def __del__(self) -> None:
        self.trigger("gc")


def build(kind: Callable[..., Bomb], *args: Any) -> Bomb:
    """Return a bomb made where this runs: a task whose result is a bomb."""
    return kind(*args)


def detonate(how: How, *_: object) -> None:
    """Go off at once: a task that dies while it runs."""
    go_off(how, "the task")


class NeedsArgsError(Exception):
    """Has required arguments that its pickle forgets: unpickling it raises TypeError."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class CarriesDataError(Exception):
    """Carries attributes, and pickles properly."""

    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return _carries_data, (self.code, self.text)


def _carries_data(code: int, text: str) -> CarriesDataError:
    return CarriesDataError(code, text=text)


class HoldsLockError(Exception):
    """Cannot be pickled: it holds a lock."""

    def __init__(self, text: str = "holds a lock") -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class UnprintableError(Exception):
    """Raises when shown."""

    def __str__(self) -> str:
        raise BombError("went off at str")

    __repr__ = __str__


class UnpicklesBadlyError(Exception):
    """Pickles well and raises when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (How.RAISE, 0)
