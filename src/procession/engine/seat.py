"""The seat: which thread drives the engine.

Whoever waits drives: a thread that waits for a result takes the seat and polls the workers itself,
so that a result reaches it without a switch of threads.  Others that wait meanwhile sleep until
their result is there or the seat is free.  A relief thread takes the seat while nobody waits.

Owns the holder's name and the list of sleepers.  A sleeper that has put itself on the list looks once
more for the seat and for its result before it sleeps; the driver looks through the list after every
turn, and after it has left the seat.  So:
    sleeper: ready? no; on the list; seat? taken; ready? no | driver: finishes its task, looks: wakes
    driver: leaves the seat, looks through the list | sleeper: on the list later, finds the seat free
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from procession.engine.bell import Bell

Ready = Callable[[], bool]


class _Sleeper:
    """A thread that waits for its result or for the seat."""

    __slots__ = ("bell", "ready")

    def __init__(self, ready: Ready) -> None:
        self.ready = ready
        self.bell = Bell()


class Seat:
    """Decides who calls ``turn``, the one step of driving."""

    def __init__(self, turn: Callable[[float | None], None], nudge: Callable[[], None]) -> None:
        self._turn = turn
        self._nudge = nudge  #: makes a blocked ``turn`` return
        self._mutex = threading.Lock()
        self._holder = 0
        self._sleepers: list[_Sleeper] = []
        self.last_used = 0.0
        self.relief_drives = False

    def wait(self, ready: Ready, timeout: float | None = None) -> bool:
        """Block until ``ready()``, driving if nobody else does; return whether it is.

        The thread that drives already (a callback that waits) goes on driving from within.
        """
        if ready():
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        me = threading.get_ident()
        if self._holder == me:
            return self._drive(ready, deadline)
        try:
            # A Ctrl-C may strike at any of these lines; the seat is held or not by what `_holder`
            # says, and the `finally` gives it back whichever line it was.
            while not ready():
                if deadline is not None and time.monotonic() >= deadline:
                    return ready()
                with self._mutex:
                    if not self._holder:
                        self._holder = me
                if self._holder == me:
                    return self._drive(ready, deadline)
                self._sleep(ready, deadline)
            return True
        finally:
            if self._holder == me:
                self._leave()

    def drive_unless_wanted(self, ready: Ready) -> None:
        """For the relief thread: drive until ``ready()``, or until somebody else waits."""
        me = threading.get_ident()
        with self._mutex:
            if self._holder:
                return
            self._holder = me
        try:
            self.relief_drives = True
            self._drive(lambda: bool(self._sleepers) or ready(), None)
        finally:
            self.relief_drives = False
            self._leave()

    @property
    def taken(self) -> bool:
        """Whether a thread drives."""
        return bool(self._holder)

    @property
    def mine(self) -> bool:
        """Whether the calling thread drives."""
        return self._holder == threading.get_ident()

    def _drive(self, ready: Ready, deadline: float | None) -> bool:
        while not ready():
            left = None
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
            self._turn(left)
            if self._sleepers:
                self._ring(only_ready=True)
        return True

    def _leave(self) -> None:
        self._holder = 0
        self.last_used = time.monotonic()
        if self._sleepers:
            self._ring(only_ready=False)

    def _ring(self, *, only_ready: bool) -> None:
        for sleeper in list(self._sleepers):
            if not only_ready or sleeper.ready():
                sleeper.bell.ring()

    def _sleep(self, ready: Ready, deadline: float | None) -> None:
        sleeper = _Sleeper(ready)
        self._sleepers.append(sleeper)
        try:
            if self.relief_drives:
                self._nudge()
            if ready() or not self._holder:
                return
            sleeper.bell.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        finally:
            self._sleepers.remove(sleeper)

    def wake_ready(self) -> None:
        """Wake the sleepers whose results came about outside of a turn."""
        if self._sleepers:
            self._ring(only_ready=True)
