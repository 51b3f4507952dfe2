"""The driver: the engine of one pool, as the backends know it.

Any thread may call; each call is one transition of the core, under its lock.  Who waits drives meanwhile, see
``seat`` and ``turn``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.engine.core import Core
from procession.engine.dispatch import Dispatcher
from procession.engine.enforcer import Enforcer
from procession.engine.lookout import LOOK_SECONDS
from procession.engine.loop import soonest
from procession.engine.relief import Relief
from procession.engine.reports import Reports
from procession.engine.room import Room
from procession.engine.screen import SCREEN_SECONDS, screen
from procession.engine.seat import Seat
from procession.engine.stacks import StackReader
from procession.engine.stalls import Stalls
from procession.engine.turn import Turn
from procession.errors import TaskCancelled

if TYPE_CHECKING:
    from procession.engine.interning import Function
    from procession.engine.settings import WorkerSettings
    from procession.engine.store import Store
    from procession.engine.work import Chunk, Source


#: How long tiny items wait for those that follow them: ten times as long as handing one of them out takes.
GATHER_SECONDS = 0.001

#: How long the lock may take to be free, if it is not this very thread that holds it: transitions take microseconds.
_UNLOCKED_SECONDS = 0.1


class Driver:
    """The engine of one pool."""

    def __init__(self, settings: WorkerSettings, store: Store) -> None:
        self._core = core = Core(settings, store)
        self._released = False
        self.crew = core.crew
        turn = Turn(core)
        self.seat = Seat(turn.run, self.nudge)
        self.room = Room(core, self.seat)
        self.relief = Relief(self.seat, lambda: not core.has_work, self.nudge, self._tidy)
        stalls, enforcer = Stalls(core, settings.stall_warning), Enforcer(core)
        turn.looks += [core.lookout.look, self.room.look, enforcer.look, core.limits.look, stalls.look]
        self._errands = core.accounts.errands
        self.dump_stacks = StackReader(core, self.seat).read
        Dispatcher(core, self.room)
        Reports(core, self.room)

    @property
    def broken(self) -> BaseException | None:
        """Why nothing can be run any more, or None."""
        return self._core.broken

    def submit(self, source: Source, *, more: bool = False) -> None:
        """Queue a source, or one that has got new items again; ``more``: tiny ones may wait a moment for others.

        On failure: ``PoolBroken``, ``RuntimeError``.
        """
        core = self._core
        core.reporting.note()
        with core.lock:
            self._check_open()
            core.begin()
            broken = core.broken
            if broken is None:
                core.scheduler.add_source(source)
                if more and core.scheduler.is_tiny(source):
                    core.loop.look_within(GATHER_SECONDS)
                else:
                    core.advance()
                if screen.wanted:
                    core.loop.look_within(SCREEN_SECONDS)
            core.clean = True
        if broken is not None:
            raise broken
        self.relief.note_work()
        if self._errands and self.seat.relief_drives:
            self.nudge()

    def append(self, make: Callable[[Function, Any], Any], function: Function, options: Any, item: Any) -> None:
        """Add an item to the last source if that is open for the function under these options, else to a new one.

        Items that come one by one are so sent together when they have to wait.
        """
        core = self._core
        core.reporting.note()
        with core.lock:
            self._check_open()
            core.begin()
            broken = core.broken
            if broken is None:
                scheduler = core.scheduler
                source: Any = scheduler.last_source
                if source is None or not source.is_open(function, options):
                    source = make(function, options)
                    scheduler.add_source(source)
                source.append(item)
                # What waits is looked at by the next tick at the latest, if no report comes before.
                waits = scheduler.saturated or (core.loop.looks_within(LOOK_SECONDS) and scheduler.can_wait(source))
                if not waits:
                    core.advance()
            core.clean = True
        if broken is not None:
            raise broken
        self.relief.note_work()

    def _check_open(self) -> None:
        """Check that there still is an engine.  On failure: ``RuntimeError``, when all has been given back."""
        if self._released:
            raise RuntimeError("cannot schedule new futures after shutdown: the workers of this pool have ended")

    def withdraw(self, source: Source) -> None:
        """Begin nothing more of a source; what nobody begins has no outcome.  Also by the collector, as below."""
        self._abandon(source, None)

    def interrupt(self, source: Source, error: BaseException) -> None:
        """Withdraw a source and stop what runs of it: its items get ``error``.  Does not wait for that."""
        self._abandon(source, error)
        self.relief.note_work()
        self.nudge()

    def settle(self, source: Source, seconds: float) -> None:
        """Block until nothing of a source is under way, at most for so long.

        Whoever wants that may be the garbage collector, see below: then the lock is not to be had.
        """
        core = self._core
        if not core.lock.acquire(timeout=_UNLOCKED_SECONDS):
            return
        core.lock.release()
        self.wait(lambda: all(chunk.source is not source for chunk in core.accounts.outstanding()), seconds)

    def _abandon(self, source: Source, error: BaseException | None) -> None:
        """Note the wish, to be carried out by whoever begins the next transition.

        For it may be the garbage collector's, in the midst of a transition of the same thread:
            transition: holds the lock, allocates | collector: an abandoned iterator: must not wait for the lock
        """
        core = self._core
        core.abandoned.append((source, error))
        if not core.lock.locked():
            with core.lock:
                core.begin()
                core.clean = True

    def stop(self, task: Any) -> None:
        """Stop the call of a task, wherever it is; the task gets ``TaskCancelled``.  Does not wait for that."""
        core, error = self._core, TaskCancelled("the task was stopped")
        with core.lock:
            core.begin()
            self._doom(task, error)
            core.loop.look_within(0)
            core.clean = True
        self._hurry()

    def _doom(self, task: Any, error: BaseException) -> None:
        core = self._core
        for chunk in core.accounts.outstanding():
            index = chunk.source.find(chunk, task)
            if index is not None:
                chunk.doom = {**(chunk.doom or {}), index: error}
                return
        for chunk, at in core.delayed.items():
            if chunk.source.find(chunk, task) == at:
                core.delayed.remove(chunk.source, at, chunk)
                core.accounts.add_errand(chunk.source.deliver_error, chunk, at, 1, error)
                return
        if any(source.remove(task) for source in core.scheduler.sources()):
            core.accounts.add_errand(task.settle, None, error)

    def retry(self, chunk: Chunk, index: int, delay: float) -> bool:
        """Queue an item once more, in ``delay`` seconds; return whether that can be done.

        For a source whose item has failed, while its outcome is being delivered.
        """
        core = self._core
        with core.lock:
            core.begin()
            accepted = core.broken is None and (chunk.doom_of(index) is None)
            if accepted:
                core.delayed.add(time.monotonic() + delay, chunk, index)
                core.loop.look_within(delay)
            core.clean = True
        return accepted

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Block until ``ready()``, driving the engine meanwhile; return whether it is."""
        return self.seat.wait(ready, timeout)

    def start_workers(self) -> None:
        """Start all workers now, without waiting for work."""
        core = self._core
        core.reporting.note()
        with core.lock:
            core.begin()
            while len(core.scheduler.slots) < core.workers and core.broken is None:
                core.start_worker()
            core.clean = True

    def cancel_queued(self, error: BaseException, *, handed_out: bool = False) -> None:
        """Drop what is queued: it gets ``error``; with ``handed_out`` also what workers hold and have not begun.

        Does not wait for that.
        """
        core = self._core
        with core.lock:
            core.begin()
            core.fail_queued(error)
            if handed_out:
                for chunk in core.accounts.outstanding():
                    chunk.forfeit = error
            core.advance()
            core.clean = True
        self._hurry()

    def close(self) -> None:
        """Take no more work; the workers end when what there is has been done."""
        core = self._core
        with core.lock:
            core.begin()
            core.closing = True
            core.advance()
            core.clean = True
        self._hurry()

    def terminate(self, error: BaseException) -> None:
        """Kill every worker; what has no outcome gets ``error``.  Returns when the workers are gone.

        But within a callback, which is waited for itself, it returns at once.
        """
        core = self._core
        with core.lock:
            core.begin()
            core.closing = True
            core.broken = core.broken or error
            core.fail_all(error)
            core.clean = True
        self.nudge()
        if self.seat.mine:
            threading.Thread(target=self.wait_ended, name="procession-shutdown", daemon=True).start()
        else:
            self.wait_ended()

    def wait_ended(self) -> None:
        """Block until all work is done and every worker has ended; then give everything back.

        On failure: ``RuntimeError`` within a callback, whose own outcome would be waited for.
        """
        core = self._core
        if self.seat.mine:
            raise RuntimeError("a callback cannot wait for the end of the pool that calls it")
        self.wait(lambda: not core.has_work)
        self.relief.stop()
        with core.lock:
            if not self._released:
                self._released = True
                core.close()

    def forget_after_fork(self) -> None:
        """In a forked child: the workers are the parent's; close what leads to them."""
        if not self._released:
            self._released = True
            self._core.abandon()

    def _hurry(self) -> None:
        """Have what has just been asked for seen to at once, by whoever drives or will."""
        self.relief.note_work()
        self.relief.attend()
        self.nudge()

    def nudge(self) -> None:
        """Make a blocked ``turn`` return."""
        self._core.loop.nudge()

    def _tidy(self) -> float | None:
        """Give back what lies idle; return in how many seconds to come again, None for not.  By the relief thread."""
        core = self._core
        with core.lock:
            if self._released:
                return None
            core.begin()
            later = soonest(self.room.tidy(), core.dismiss_idle())
            core.clean = True
        return later
