"""The accounts: every chunk that was handed out, until each of its items has had its outcome.

Touched by the driver, under the engine's lock.  What has to reach a source is not delivered here, since
that runs user code, but noted as an errand; a chunk is struck off when its last errand has been run.
So whatever happens to a worker, what it owed is found here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.engine.slots import SlotState
from procession.engine.supervisor import End
from procession.engine.work import ALL
from procession.errors import TaskTimeout, WorkerDied
from procession.system import close_all
from procession.wire.ledger import BEFORE

if TYPE_CHECKING:
    from procession.engine.handle import Handle
    from procession.engine.scheduler import Scheduler
    from procession.engine.work import Chunk
    from procession.wire.ledger import Position
    from procession.wire.messages import Part

Errand = tuple[Callable[..., None], tuple[Any, ...]]


class Accounts:
    """What the engine owes to sources."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._outstanding: dict[Chunk, None] = {}
        self._delivering: set[Chunk] = set()  # those of which the last errand is being run
        self.errands: deque[Errand] = deque()

    def __bool__(self) -> bool:
        """Whether anything is owed."""
        return bool(self._outstanding or self.errands)

    @property
    def owes_more(self) -> bool:
        """Whether anything is owed but what is being delivered at this moment."""
        return bool(self.errands) or not self._outstanding.keys() <= self._delivering

    def outstanding(self) -> list[Chunk]:
        """The chunks of which an item may still be without its outcome, or be tried again."""
        return list(self._outstanding)

    def open(self, chunk: Chunk) -> None:
        """A chunk is being handed out."""
        self._outstanding[chunk] = None

    def close(self, chunk: Chunk) -> None:
        """A chunk is settled, or its items are in their source again."""
        self._outstanding.pop(chunk, None)
        self._delivering.discard(chunk)

    def clear(self) -> None:
        """Owe nothing any more: it is another process's debt."""
        self._outstanding.clear()
        self._delivering.clear()
        self.errands.clear()

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
        self._return(chunk, count, chunk.count)
        chunk.count = count

    def give_back(self, chunks: list[Chunk], skip: int | None = None) -> None:
        """Return chunks of which nothing has begun to the front of the queue.

        The item at ``skip`` stays out: it has an outcome.
        """
        for chunk in reversed(chunks):
            self.close(chunk)
            if skip is not None:
                self._return(chunk, skip + 1, chunk.count)
            self._return(chunk, 0, chunk.count if skip is None else skip)

    def _return(self, chunk: Chunk, first: int, stop: int) -> None:
        """Return some items of a chunk to the front of the queue; those that are cancelled have their outcome."""
        source = chunk.source
        if chunk.doom is None and chunk.forfeit is None:
            source.give_back(chunk, first, stop)
            self._scheduler.return_source(source)
            return
        for index in range(stop - 1, first - 1, -1):
            error = chunk.doom_of(index) or chunk.forfeit
            if error is None:
                source.give_back(chunk, index, index + 1)
                self._scheduler.return_source(source)
            else:
                self.add_errand(source.deliver_error, chunk, index, 1, error)

    def settle_dead(self, handle: Handle, death: WorkerDied) -> End:
        """Account for what a dead worker held; return what kind of end it was.

        The chunk that its ledger names is the one it was running: outcomes that it had committed
        are taken from the ledger, the next item is what it died of, the rest was not begun.
        """
        slot = handle.slot
        if slot.state is SlotState.GONE:  # stopped on purpose, and accounted for then
            return End.PLANNED
        used = End.IDLE if slot.chunks else End.UNUSED
        end = End.UNSTARTED if slot.state is SlotState.STARTING else used
        chunk, position = handle.running()
        chunks = self._scheduler.remove_slot(slot)
        if chunk is not None and position is not None:
            chunks.remove(chunk)
            verdict = handle.verdict
            error = death if verdict is None or verdict[:2] != (position.seq, position.index) else verdict[2]
            death.was_wanted = chunk.forfeit is not None
            if self._settle_begun(handle, chunk, position, error) or chunk.received:
                end = End.WITH_ITEM
        self.give_back([each for each in chunks if not self._settle_unread(handle, each)])
        return End.PLANNED if handle.stopping and handle.memory_limit is None else end

    def _settle_begun(self, handle: Handle, chunk: Chunk, position: Position, error: BaseException) -> bool:
        """It died on a chunk; return whether an item was to blame."""
        if position.reading:
            return self._settle_reading(handle, chunk, error)
        # Where beginnings are noted, an item without one has not begun.
        begun = bool(position.begun_ns) or not chunk.source.stoppable
        return self._settle_running(handle, chunk, position.index, error, begun=begun)

    def _settle_reading(self, handle: Handle, chunk: Chunk, error: BaseException) -> bool:
        """It died while it unpickled the chunk: items that were read together go apart.

        An item alone has died of itself.  Items that were to be read one by one have not been: it was the
        function, or a kill that had nothing to do with them; so they are given back, since nothing has run, as
        long as that may be by chance.
        """
        if chunk.count > 1 and chunk.frames is None and not chunk.apart:
            chunk.apart = True
            self.give_back([chunk])
        elif chunk.count > 1 and chunk.source.suspect(chunk):
            self.give_back([chunk])
        else:
            for index in range(chunk.count - 1):
                each = error.copy() if isinstance(error, (WorkerDied, TaskTimeout)) else error
                self.add_errand(self._deliver_end, chunk, index, each, False)
            self.add_errand(self._deliver_end, chunk, chunk.count - 1, error)
        return True

    def _settle_unread(self, handle: Handle, chunk: Chunk) -> bool:
        """It was killed because it did not begin to read a chunk; return whether that is the chunk's own fault.

        The first few times it may have been the fault of what came before.
        """
        verdict = handle.verdict
        if verdict is None or verdict[:2] != (chunk.seq, BEFORE) or chunk.source.suspect(chunk):
            return False
        self.add_errand(self.deliver_error, chunk, 0, chunk.count, verdict[2])
        return True

    def _settle_running(self, handle: Handle, chunk: Chunk, at: int, error: BaseException, *, begun: bool) -> bool:
        """It died while it ran the chunk; return whether an item was to blame."""
        part = handle.peek()
        if part is not None:
            self.take(chunk, part)
        at = chunk.received if part is None else max(chunk.received, at)
        if not begun and at < chunk.count:
            self.shorten(chunk, at)
        if at >= chunk.count:
            self.add_errand(self.close, chunk)  # recalled behind what had come in, or dead between two items
            return False
        self.shorten(chunk, at + 1)
        self.add_errand(self._deliver_end, chunk, at, error)
        return True

    def fail_queued(self, error: BaseException) -> None:
        """Note ``error`` for everything that is queued."""
        for source in self._scheduler.sources():
            while source.left():
                chunk = source.cut(source.left())
                self.add_errand(self.deliver_error, chunk, 0, chunk.count, error)

    def fail_handed_out(self, error: BaseException) -> None:
        """Note ``error`` for everything that is handed out."""
        for chunk in self._outstanding:
            chunk.doom = {ALL: error}  # it is not to be tried again either
            self.add_errand(self.deliver_error, chunk, 0, chunk.count, error)

    # Errands.

    def _deliver(self, chunk: Chunk, skip: int, part: Part) -> None:
        done = part.first + part.count >= chunk.count
        if done:
            self._delivering.add(chunk)
        chunk.source.deliver(chunk, skip, part, last=done)
        if done:
            self.close(chunk)

    def deliver_error(self, chunk: Chunk, first: int, count: int, error: BaseException) -> None:
        """Deliver ``error`` for the last items of a chunk.  An errand."""
        self._delivering.add(chunk)
        chunk.source.deliver_error(chunk, first, count, error)
        self.close(chunk)

    def _deliver_end(self, chunk: Chunk, at: int, error: BaseException, last: bool = True) -> None:
        if isinstance(error, (WorkerDied, TaskTimeout)):
            chunk.source.name_item(error, chunk, at)
        chunk.source.deliver_error(chunk, at, 1, error)
        if last:
            self.close(chunk)
