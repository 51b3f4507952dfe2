"""The turn: the one step of driving an engine.

By the thread in the seat alone: it runs the errands, or waits for events and handles them.

Ctrl-C lands in whichever thread drives, when that is the main thread.  In the wait it is harmless; in a
transition or an errand it leaves the engine unclean, which the next transition finds and undoes (see
``core``).  Any other exception in a turn is a bug of ours; it fails every pending task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from procession.engine.loop import soonest
from procession.engine.screen import screen
from procession.errors import InternalError, TaskCancelled, TaskTimeout

if TYPE_CHECKING:
    from procession.engine.core import Core


class Turn:
    """Takes turns for one engine."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._errands = core.accounts.errands
        #: What looks at the workers now and then, and says in how many seconds again.
        self.looks: list[Callable[[], float | None]] = []

    def run(self, timeout: float | None) -> None:
        """Run the errands; if there were none, wait for events, handle them and run what they bring."""
        loop = self._core.loop
        try:
            if self._run_errands():
                return
            # Going to sleep and being woken costs more than a tiny item will take; see `answer_is_near`.
            for fd, _events in loop.poll(timeout, spin=self._core.scheduler.answer_is_near()):
                loop.handle(fd)
            if loop.look_is_due() or self._core.abandoned:
                self._look()
            self._run_errands()
        except (TaskTimeout, TaskCancelled):
            # This process is a worker, and the task that waits here is being stopped: as with Ctrl-C.
            self._core.clean = False
            raise
        except Exception as error:
            self._fail_internally(error)

    def _run_errands(self) -> bool:
        errands, core = self._errands, self._core
        if not errands:
            return False
        if not core.clean:  # or another thread is in a transition: the lock tells
            with core.lock:
                core.begin()
                core.clean = True
        try:
            while errands:
                run, args = errands.popleft()
                run(*args)
        except Exception:
            raise
        except BaseException:  # Ctrl-C; what the errand was about may be half done
            core.clean = False
            raise
        return True

    def _look(self) -> None:
        core = self._core
        with core.lock:
            core.begin()
            now = time.monotonic()
            for chunk, index in core.delayed.pop_due(now):
                chunk.source.give_back(chunk, index, index + 1, failed=True)
                core.scheduler.return_source(chunk.source)
            again = soonest(
                *[look() for look in self.looks],
                screen.look(core.accounts.add_errand) if core.has_work else None,
                core.delayed.seconds_left(now),
            )
            if again is not None:
                core.loop.look_within(again)
            core.advance()
            core.clean = True

    def _fail_internally(self, error: Exception) -> None:
        core = self._core
        failure = InternalError(f"the engine failed, please report this: {error!r}")
        failure.__cause__ = error
        with core.lock:
            core.clean = True
            core.fail_all(failure)
        self._run_errands()
