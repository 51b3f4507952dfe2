"""Room in the store: who waits for some, and when waiting is hopeless.

Workers give blocks back without a message, so while somebody waits their ledgers are looked at every few
milliseconds.  Nothing given back for a while, with nothing under way that could give any, ends the wait:
what is being delivered at that moment does not count, since the thread that delivers may be the one
that waits (a callback that sends more).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from procession.engine.hunger import Hunger
from procession.engine.lookout import LOOK_SECONDS
from procession.wire.arena import IDLE_SECONDS

if TYPE_CHECKING:
    from procession.engine.core import Core
    from procession.engine.seat import Seat
    from procession.engine.slots import Slot
    from procession.engine.work import Chunk
    from procession.wire.arena import NoRoom


class Room:
    """Waits for room in the store of one engine."""

    def __init__(self, core: Core, seat: Seat) -> None:
        self._core = core
        self._seat = seat
        self.hunger = Hunger()

    def wait(self, full: NoRoom) -> None:
        """Block until the store has room again, driving meanwhile.  On failure: ``MemoryError``."""
        core, hunger = self._core, self.hunger
        hunger.waiters += 1
        try:
            self._look_around(full)
            while not core.store.has_room(full.wanted):
                if self._look_around(full) or core.broken is not None or core.closing:
                    raise core.store.exhausted(full)
                seen = hunger.returns
                self._seat.wait(lambda: hunger.returns != seen, LOOK_SECONDS)  # noqa: B023 (called within)
        finally:
            hunger.waiters -= 1

    def _look_around(self, full: NoRoom) -> bool:
        """Collect what has been given back, and look again soon; return whether there is no hope."""
        core = self._core
        with core.lock:
            core.begin()
            self.collect()
            core.loop.look_within(LOOK_SECONDS)
            under_way = core.accounts.owes_more or core.scheduler.queued
            starving = not core.store.has_room(full.wanted) and self.hunger.is_starving(under_way, time.monotonic())
            core.clean = True
        return starving

    # Transitions; with the engine's lock held.

    def collect(self) -> None:
        """Take back the blocks that workers need no longer."""
        found = False
        for handle in self._core.crew.handles():
            handle.views.settle()
            found = handle.leases.collect() or found
        if found:
            self.hunger.note_return()

    def on_none(self, slot: Slot, chunk: Chunk) -> Chunk | None:
        """There is none for a chunk: hand out nothing until something comes back, if anything is under way.

        Return a chunk of one item, which is the caller's to fail, if there is no hope for it.
        """
        core = self._core
        core.accounts.give_back(core.scheduler.take_back(slot, {chunk.seq}))
        core.accounts.close(chunk)
        self.collect()
        core.scheduler.held = True  # until a chunk is done, or the next look
        core.loop.look_within(LOOK_SECONDS)
        if self.hunger.is_starving(core.accounts.owes_more, time.monotonic()) and chunk.source.left():
            return chunk.source.cut(1)
        return None

    def look(self) -> float | None:
        """Collect, if somebody waits for it, and let work go on; return in how many seconds to look again."""
        scheduler = self._core.scheduler
        if not scheduler.held and not self.hunger.waiters:
            return None
        self.collect()
        scheduler.held = False
        return LOOK_SECONDS

    def tidy(self) -> float | None:
        """Give back what lies idle; return in how many seconds there will be more to do, None for never."""
        self.collect()
        store = self._core.store
        store.trim()
        lent = any(handle.leases or handle.views for handle in self._core.crew.handles())
        return IDLE_SECONDS if store.has_free or lent else None
