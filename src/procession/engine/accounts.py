"""The accounts: every chunk that was handed out, until each of its items has had its outcome.

Touched by the driver, under the engine's lock.  What has to reach a source is not delivered here, since
that runs user code, but noted as an errand; a chunk is struck off when its last errand has been run.
So whatever happens to a worker, what it owed is found here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.engine.scheduler import SlotState
from procession.engine.supervisor import End
from procession.errors import WorkerDied
from procession.system import close_all

if TYPE_CHECKING:
    from procession.engine.handle import Handle
    from procession.engine.scheduler import Scheduler
    from procession.engine.work import Chunk
    from procession.wire.messages import Part

Errand = tuple[Callable[..., None], tuple[Any, ...]]


class Accounts:
    """What the engine owes to sources."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._outstanding: dict[Chunk, None] = {}
        self.errands: deque[Errand] = deque()

    def __bool__(self) -> bool:
        """Whether anything is owed."""
        return bool(self._outstanding or self.errands)

    def open(self, chunk: Chunk) -> None:
        """A chunk is being handed out."""
        self._outstanding[chunk] = None

    def close(self, chunk: Chunk) -> None:
        """A chunk is settled, or its items are in their source again."""
        self._outstanding.pop(chunk, None)

    def add_errand(self, run: Callable[..., None], *args: Any) -> None:
        """Have the thread in the seat call ``run(*args)``, without the lock."""
        self.errands.append((run, args))

    def take(self, chunk: Chunk, part: Part) -> None:
        """Note the delivery of what is new in ``part``."""
        skip = chunk.received - part.first
        chunk.received = max(chunk.received, part.first + part.count)
        if skip < part.count or chunk.received == chunk.count:
            self.add_errand(self._deliver, chunk, min(skip, part.count), part)
        else:
            close_all(part.fds)

    def lose(self, chunk: Chunk, error: BaseException) -> None:
        """Note ``error`` for all items of a chunk that have no outcome."""
        left = chunk.count - chunk.received
        self.add_errand(self.deliver_error, chunk, chunk.received, left, error)

    def shorten(self, chunk: Chunk, count: int) -> None:
        """Return the items of a chunk from ``count`` on, which will not be begun, to the queue."""
        chunk.source.give_back(chunk, count)
        self._scheduler.return_source(chunk.source)
        chunk.count = count

    def give_back(self, chunks: list[Chunk]) -> None:
        """Return chunks of which nothing has begun to the front of the queue."""
        for chunk in reversed(chunks):
            self.close(chunk)
            chunk.source.give_back(chunk, 0)
            self._scheduler.return_source(chunk.source)

    def settle_dead(self, handle: Handle, exitcode: int) -> End:
        """Account for what a dead worker held; return what kind of end it was.

        The chunk that its ledger names is the one it was running: outcomes that it had committed
        are taken from the ledger, the next item is what it died of, the rest was not begun.
        """
        slot = handle.slot
        if slot.state is SlotState.GONE:  # stopped on purpose, and accounted for then
            return End.PLANNED
        end = End.UNSTARTED if slot.state is SlotState.STARTING else End.IDLE
        position = handle.ledger.position()
        chunk = slot.find(position.seq) if position is not None else None
        chunks = self._scheduler.remove_slot(slot)
        if chunk is not None and position is not None:
            chunks.remove(chunk)
            error = WorkerDied(handle.child.pid, exitcode)
            begun = self._settle_reading if position.reading else self._settle_running
            if begun(handle, chunk, position.index, error):
                end = End.WITH_ITEM
        self.give_back(chunks)
        return End.PLANNED if handle.stopping else end

    def _settle_reading(self, handle: Handle, chunk: Chunk, at: int, error: WorkerDied) -> bool:
        """It died while it unpickled the chunk: items that were read together go apart.

        An item alone has died of itself, and so have all when it was the function; nothing has run.
        """
        if chunk.count > 1 and chunk.frames is None and not chunk.apart:
            chunk.apart = True
            self.give_back([chunk])
        else:
            for index in range(chunk.count - 1):
                self.add_errand(self._deliver_death, chunk, index, error.copy(), False)
            self.add_errand(self._deliver_death, chunk, chunk.count - 1, error)
        return True

    def _settle_running(self, handle: Handle, chunk: Chunk, at: int, error: WorkerDied) -> bool:
        """It died while it ran the chunk; return whether an item was to blame."""
        part = handle.peek()
        if part is not None:
            self.take(chunk, part)
        at = chunk.received if part is None else max(chunk.received, at)
        if at >= chunk.count:
            return False
        self.shorten(chunk, at + 1)
        self.add_errand(self._deliver_death, chunk, at, error)
        return True

    def fail_all(self, error: BaseException) -> None:
        """Note ``error`` for everything that is queued or handed out."""
        for source in self._scheduler.sources():
            while source.left():
                chunk = source.cut(source.left())
                self.add_errand(self.deliver_error, chunk, 0, chunk.count, error)
        for chunk in self._outstanding:
            self.add_errand(self.deliver_error, chunk, 0, chunk.count, error)

    # Errands.

    def _deliver(self, chunk: Chunk, skip: int, part: Part) -> None:
        done = part.first + part.count >= chunk.count
        if done:
            chunk.frames = None  # a callback that sends more must not wait for the memory of what it is called for
        chunk.source.deliver(chunk, skip, part)
        if done:
            self.close(chunk)

    def deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        """Deliver ``error`` for the last items of a chunk.  An errand."""
        chunk.source.deliver_error(chunk, first, count, error)
        self.close(chunk)

    def _deliver_death(self, chunk: Chunk, at: int, error: WorkerDied, last: bool = True) -> None:
        error.index, error.item = chunk.source.describe(chunk, at)
        error.function = chunk.source.function.name
        chunk.source.deliver_error(chunk, at, 1, error)
        if last:
            self.close(chunk)
