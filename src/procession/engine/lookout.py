"""The lookout: sees, without any message, that an item takes unexpectedly long, and unburdens its worker.

Called by the driver every few milliseconds while it may matter, under the engine's lock.  An item that
is the same at two looks is stuck: outcomes before it in its chunk are delivered from the ledger, and
when another worker is idle, what waits behind it is taken back, in the chunk and in the socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procession.engine.accounts import Accounts
    from procession.engine.crew import Crew
    from procession.engine.handle import Handle
    from procession.engine.scheduler import Scheduler, Slot
    from procession.engine.work import Chunk
    from procession.wire.ledger import Position

#: The time between two looks: long against an item that was sent with others because it should be
#: tiny, short against what a person notices.
LOOK_SECONDS = 0.005


class Lookout:
    """Looks at the workers of one pool."""

    def __init__(self, scheduler: Scheduler, crew: Crew, accounts: Accounts) -> None:
        self._scheduler = scheduler
        self._crew = crew
        self._accounts = accounts

    def look(self) -> bool:
        """Look at every busy worker; return whether there is reason to look again."""
        again = False
        for slot in self._scheduler.busy_slots():
            again = self._look_at(slot) or again
        return again

    def _look_at(self, slot: Slot) -> bool:
        handle = self._crew.handle(slot)
        position, before = handle.ledger.position(), handle.last_position
        handle.last_position = position
        running = slot.find(position.seq) if position is not None else None
        if running is None or position is None:
            return True
        stuck = position == before
        self._scheduler.set_stuck(slot, stuck)
        if stuck:
            self._harvest(handle, running, position)
            if self._scheduler.has_idle():
                self._recall(handle, running, position)
                self._take_back(handle)
        return len(slot.chunks) > 1 or running.count > 1 or self._scheduler.queued

    def _harvest(self, handle: Handle, running: Chunk, position: Position) -> None:
        """Deliver the outcomes before a stuck item.

        Nothing has moved since the last look, so the stores behind the position are long visible.  But
        leaves that were posted before may still be in the socket, and come first:
            worker: posts 0..4, begins 6, is stuck | parent: looks, finds 5 in the ledger; reads 0..4 later
        """
        if running.source.eager and position.index > running.received:
            part = handle.peek()
            if part is not None and part.first <= running.received:
                self._accounts.take(running, part)

    def _recall(self, handle: Handle, running: Chunk, position: Position) -> None:
        """Take back what has not begun of a stuck chunk: ask first, take at the next look."""
        begun = position.index + 1
        if begun >= running.count:
            return
        if handle.recalled != position:
            handle.recalled = position
            handle.ledger.recall(position)
        else:
            self._accounts.shorten(running, begun)
            handle.end_loans(running.seq, begun)

    def _take_back(self, handle: Handle) -> None:
        """Take back the chunks that a stuck worker has not read."""
        slot = handle.slot
        if len(slot.chunks) < 2:
            return
        taken = handle.take_back()
        for chunk in slot.chunks:
            if chunk.seq in taken:
                self._accounts.close(chunk)
                handle.end_loans(chunk.seq, 0)
        self._scheduler.take_back(slot, taken)
