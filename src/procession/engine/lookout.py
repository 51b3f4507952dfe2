"""The lookout: sees, without any message, that an item takes unexpectedly long, and unburdens its worker.

Called by the driver every few milliseconds while it may matter, under the engine's lock.  An item that
is the same at two looks is stuck: outcomes before it in its chunk are delivered from the ledger, and
when another worker is idle, what waits behind it is taken back, in the chunk and in the socket.  Of a source
that somebody watches, outcomes are also delivered while its chunks go on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procession.engine.accounts import Accounts
    from procession.engine.crew import Crew
    from procession.engine.handle import Handle
    from procession.engine.scheduler import Scheduler
    from procession.engine.slots import Slot
    from procession.engine.work import Chunk
    from procession.wire.ledger import Position
    from procession.wire.messages import Part

#: The time between two looks: long against an item that was sent with others because it should be
#: tiny, short against what a person notices.
LOOK_SECONDS = 0.005

#: A worker that has not moved for so long after its rest was recalled will not begin it; see ``Ledger.recall``.
RECALL_SECONDS = 0.002

#: How often a chunk that goes on is harvested, if its source is watched, and after how long first: what a person
#: sees move; a look costs some 10 us a worker, and chunks of the default size (15 ms) are over before.
HARVEST_SECONDS = 0.05


class Lookout:
    """Looks at the workers of one pool."""

    def __init__(self, scheduler: Scheduler, crew: Crew, accounts: Accounts) -> None:
        self._scheduler = scheduler
        self._crew = crew
        self._accounts = accounts
        self._last = 0.0

    def look(self) -> float | None:
        """Look at every busy worker; return in how many seconds to look again, None for never."""
        now = time.monotonic()
        if now < self._last + RECALL_SECONDS:  # others look more often; twice at once would see no movement
            return LOOK_SECONDS
        self._last = now
        again = False
        for slot in self._scheduler.busy_slots():
            again = self._look_at(slot) or again
        return LOOK_SECONDS if again else None

    def _look_at(self, slot: Slot) -> bool:
        handle = self._crew.handle(slot)
        (running, position), before = handle.running(), handle.last_position
        handle.last_position = position
        if running is None or position is None:
            return True
        stuck = position == before
        self._scheduler.set_stuck(slot, stuck)
        if stuck:
            self._harvest(handle, running, position)
            if self._scheduler.has_spare():
                self.unburden(handle, running, position)
        elif running.source.watched and before is not None and before.seq == position.seq:
            self._harvest_moving(handle, running, before)
        return len(slot.chunks) > 1 or running.count > 1 or self._scheduler.queued

    def _harvest(self, handle: Handle, running: Chunk, position: Position) -> None:
        """Deliver the outcomes before the item at ``position``.

        What ``peek`` copies is whole (see there), be the worker stuck or going on.  But leaves that were posted
        before may still be in the socket, and come first:
            worker: posts 0..4, begins 6, is stuck | parent: looks, finds 5 in the ledger; reads 0..4 later
        Where nobody waits for single outcomes the last one comes by itself, behind all that its worker has printed:
            worker: prints, is done with the last item | parent: looks, finds it; the map returns; reads the print
        """
        source = running.source
        if (source.eager or source.watched) and position.index > running.received:
            self._take(handle, running, handle.peek(None if source.eager else running.count - 1))

    def _harvest_moving(self, handle: Handle, running: Chunk, before: Position) -> None:
        """Deliver the outcomes before the item that ran at the last look, whose stores are long visible, too.

        The leaf may be turned meanwhile: then the copy of it has none of them, or there is none.
        """
        now = time.monotonic()
        since = max(handle.harvested_at, before.started_ns * 1e-9)
        if now >= since + HARVEST_SECONDS and before.index > running.received:
            handle.harvested_at = now
            self._take(handle, running, handle.peek(min(before.index, running.count - 1)))

    def _take(self, handle: Handle, running: Chunk, part: Part | None) -> None:
        # It may have gone on since the look, and be on another chunk by now.
        if part is not None and part.seq == running.seq and part.first <= running.received:
            self._accounts.take(running, part)

    def unburden(self, handle: Handle, running: Chunk, position: Position) -> None:
        """Take back what waits behind the item at ``position``, as far as that can be had now."""
        self._recall(handle, running, position)
        self._take_back(handle)

    def _recall(self, handle: Handle, running: Chunk, position: Position) -> None:
        """Take back what has not begun of a stuck chunk: ask first, take at a later look."""
        begun = position.index + 1
        if begun >= running.count or position.reading:
            return
        now = time.monotonic()
        if handle.recalled != position:
            handle.recalled, handle.recalled_at = position, now
            handle.ledger.recall(position)
        elif now >= handle.recalled_at + RECALL_SECONDS:
            self._accounts.shorten(running, begun)
            handle.end_loans(running.seq, begun)

    def _take_back(self, handle: Handle) -> None:
        """Take back the chunks that a stuck worker has not read."""
        slot = handle.slot
        if len(slot.chunks) < 2:
            return
        taken = self._scheduler.take_back(slot, handle.take_back())
        for chunk in taken:
            handle.end_loans(chunk.seq, 0)
        self._accounts.give_back(taken)
