"""The relief: a thread that drives while nobody waits, so that work goes on and callbacks come.

Owns its thread, which exists from the first work on and ends with the pool.  It keeps out of the way
of callers who submit and wait in turns: it looks every few milliseconds, and takes the seat only when
nobody has used it since; ``attend`` has it come at once.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from procession.engine.bell import Bell
from procession.engine.seat import Seat

#: A caller that submits and then waits is in the seat well within this time.
PATIENCE_SECONDS = 0.005

_DAY_SECONDS = 86_400.0

#: With nothing to do for so many looks, the thread sleeps until it is told of new work.
_LINGER_LOOKS = 40


class Relief:
    """The thread in reserve."""

    def __init__(
        self, seat: Seat, idle: Callable[[], bool], nudge: Callable[[], None], tidy: Callable[[], float | None]
    ) -> None:
        """``tidy`` is called when all has been idle for a while; it returns when to call it again, or None."""
        self._tidy = tidy
        self._seat = seat
        self._idle = idle
        self._nudge = nudge
        self._bell = Bell()
        self._awake = False
        self._urgent = False
        self._stopped = False
        self._thread: threading.Thread | None = None

    def note_work(self) -> None:
        """There is work; look after it if nobody else does."""
        if not self._awake:
            self._wake()

    def attend(self) -> None:
        """There is something that somebody waits for without driving; drive at once."""
        if not self._seat.taken:
            self._urgent = True
            self._wake()

    def stop(self) -> None:
        """End the thread and wait for it, unless it is the caller."""
        self._stopped = True
        self._bell.ring()
        self._nudge()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            self._thread = None  # it refers to the engine, and would stay until the garbage collector comes

    def _wake(self) -> None:
        self._awake = True
        if self._thread is None and not self._stopped:
            thread = threading.Thread(target=self._run, name="procession-relief", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down: callers drive themselves
                self._stopped = True
        self._bell.ring()

    def _run(self) -> None:
        looks = 0
        while not self._stopped:
            if self._idle():
                looks += 1
                if looks > _LINGER_LOOKS:
                    # A submit that still saw us awake is seen by the second look at `idle`.
                    self._awake = False
                    later = self._tidy() if self._idle() else 0.0
                    slept = self._idle() and not self._bell.wait(None if later is None else min(later, _DAY_SECONDS))
                    looks = _LINGER_LOOKS if slept else 0
                    self._awake = True
            else:
                looks = 0
            self._bell.hush()
            if not self._urgent and self._bell.wait(PATIENCE_SECONDS) and not self._urgent:
                continue
            used = time.monotonic() - self._seat.last_used < PATIENCE_SECONDS
            if self._idle() or (used and not self._urgent):
                self._urgent = False
                continue
            self._urgent = False
            try:
                self._seat.drive_unless_wanted(self._done)
            except BaseException:  # of a callback that leaves with SystemExit, say: others still count on this thread
                traceback.print_exc()

    def _done(self) -> bool:
        return self._stopped or self._idle()
