"""The core: the state of one pool's engine, and the transitions that several events share.

One lock guards scheduler, supervisor, crew and accounts.  Every method here is called with it held, between
``begin`` and ``clean = True``; nothing blocks, and no user code runs: what needs it (pickling items,
unpickling outcomes, callbacks, the parent's streams and loggers) becomes an errand.

An interrupt (Ctrl-C) within a transition would leave the state half changed.  So a transition marks the
engine unclean while it lasts; who begins the next one finds that, and resets: what was under way is
cancelled, and the workers are replaced.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from procession.engine.accounts import Accounts
from procession.engine.autopsy import Autopsy
from procession.engine.crew import Crew
from procession.engine.delayed import Delayed
from procession.engine.enforcer import EXIT_SECONDS
from procession.engine.limits import MemoryLimits
from procession.engine.lookout import Lookout
from procession.engine.loop import Loop
from procession.engine.notices import Reporting
from procession.engine.scheduler import Scheduler
from procession.engine.slots import SlotState
from procession.engine.supervisor import Supervisor
from procession.engine.work import ALL
from procession.errors import PoolBroken, TaskCancelled
from procession.system import usable_cores

if TYPE_CHECKING:
    from procession.engine.handle import Handle
    from procession.engine.settings import WorkerSettings
    from procession.engine.slots import Slot
    from procession.engine.store import Store
    from procession.engine.work import Chunk, Source


class Core:
    """What the parts of one engine share."""

    #: Set by the parts that do it: begin to listen to a worker, and hand a chunk out.
    listen: Callable[[Handle], None]
    dispatch: Callable[[Slot, Chunk], None]

    def __init__(self, settings: WorkerSettings, store: Store) -> None:
        self.lock = threading.Lock()
        self.clean = True
        self.workers = settings.workers
        self.store = store
        self.scheduler = Scheduler(self.workers, usable_cores())
        self.supervisor = Supervisor(self.workers)
        self.crew = Crew(settings, store.worker_limits)
        self.accounts = Accounts(self.scheduler)
        self.loop = Loop()
        self.delayed = Delayed()
        #: Sources of which nothing more is to be begun, with the error for what runs; None lets that go on.
        self.abandoned: deque[tuple[Source, BaseException | None]] = deque()
        self.autopsy = Autopsy()
        self.lookout = Lookout(self.scheduler, self.crew, self.accounts)
        self.limits = MemoryLimits(self, settings.memory_limit, settings.max_memory)
        #: After how many seconds workers that have got something to do are to be looked at, None for never.
        self.watch_seconds = settings.watch_seconds
        self.idle_since = time.monotonic()  #: when the last chunk was done
        self.broken: BaseException | None = None
        self.closing = False
        self.reporting = Reporting()

    def begin(self) -> None:
        """Open a transition; one that was interrupted is found here, and undone by a reset."""
        if not self.clean:
            self.fail_all(TaskCancelled("the engine was interrupted while it handed out work"))
        self.clean = False
        if self.crew.stale:
            self.crew.forget_stale()
        while self.abandoned:
            self._stop_source(*self.abandoned.popleft())

    def _stop_source(self, source: Source, error: BaseException | None) -> None:
        """Begin nothing more of a source, and have what runs of it end with ``error``, if there is one."""
        self.scheduler.drop_source(source)
        self.delayed.remove(source)
        if error is None:
            return
        for chunk in self.accounts.outstanding():
            if chunk.source is source:
                chunk.doom = {ALL: error}
        self.loop.look_within(0)

    @property
    def has_work(self) -> bool:
        """Whether something is queued, under way, ending, or still to be delivered.  Also without the lock."""
        if self.accounts or self.scheduler.queued or self.delayed:
            return True
        return (self.closing or self.scheduler.leaving) and bool(self.crew.handles())

    def advance(self) -> None:
        """Hand out what can be handed out, and start or stop the workers that this takes."""
        scheduler = self.scheduler
        while True:
            for slot, chunk in scheduler.assign():
                self.dispatch(slot, chunk)
            shortage = scheduler.shortage()
            if not shortage or self.broken is not None:
                break
            if not all(self.start_worker() for _ in range(shortage)):
                break  # no more can be had now; the next event tries again
        if self.closing and not scheduler.queued:
            for slot in list(scheduler.slots.values()):
                if not slot.chunks:
                    self.retire(slot)

    def start_worker(self) -> bool:
        """Start one more worker, and return whether that could be done; with none at all the pool is broken."""
        slot = self.scheduler.add_slot(self.crew.settings.chunks_per_worker)
        try:
            handle = self.crew.start(slot, self.reporting.packed)
        except OSError as error:
            self.scheduler.remove_slot(slot)
            if not self.scheduler.slots:  # with some workers the work goes on, only slower
                self.give_up(PoolBroken(f"no worker could be started: {error}"), error)
            return False
        self.limits.hold(handle)
        self.listen(handle)
        return True

    def retire_if_spent(self, slot: Slot) -> None:
        """Have a worker end that has done all that it may do."""
        if slot.quota == 0 and not slot.chunks:
            self.retire(slot)

    def retire(self, slot: Slot) -> None:
        """Have a worker end when it has done what it holds."""
        if slot.state is not SlotState.RETIRING:
            self.scheduler.retire(slot)
        self.crew.handle(slot).stop()
        self.loop.look_within(EXIT_SECONDS)

    def dismiss_idle(self) -> float | None:
        """Have workers end when nothing has been done for long; return in how many seconds to ask again."""
        patience = self.crew.settings.idle_timeout
        if patience is None or not self.scheduler.slots or self.has_work:
            return None
        left = self.idle_since + patience - time.monotonic()
        if left > 0:
            return left
        for slot in list(self.scheduler.slots.values()):
            if slot.state is SlotState.READY:
                self.retire(slot)
        return patience

    def give_up(self, broken: BaseException, cause: BaseException) -> None:
        """Nothing can be run any more: the pool is broken."""
        broken.__cause__ = cause
        if self.broken is None:
            self.broken = broken
            self.fail_all(broken)

    def fail_queued(self, error: BaseException) -> None:
        """Give ``error`` to everything that is not in the hands of a worker."""
        self.accounts.fail_queued(error)
        for chunk, index in self.delayed.items():
            chunk.doom = {**(chunk.doom or {}), index: error}  # the others may be running
            self.accounts.add_errand(chunk.source.deliver_error, chunk, index, 1, error)
        self.delayed.clear()

    def fail_all(self, error: BaseException) -> None:
        """Give ``error`` to everything that has no outcome, and kill the workers."""
        self.fail_queued(error)
        self.accounts.fail_handed_out(error)
        self.scheduler.clear()
        for handle in self.crew.handles():
            handle.slot.state = SlotState.GONE
            handle.slot.chunks.clear()
            handle.kill()
            self.listen(handle)  # what has gone wrong may have done so when its end was being settled

    def abandon(self) -> None:
        """In a forked child: the workers are the parent's; close what leads to them.  Takes no lock."""
        self.closing = True
        self.lock = threading.Lock()
        self.clean = True
        self.broken = PoolBroken("this pool belongs to the process that forked this one")
        self.scheduler.clear()
        self.accounts.clear()
        self.delayed.clear()
        self.crew.abandon()
        self.store.close_after_fork()
        self.loop.close()

    def close(self) -> None:
        """Every worker is gone: give back all that is left."""
        self.crew.release()
        self.store.close()
        self.loop.close()
