"""Limits of memory: a worker that has grown too large is killed at once, or replaced between two chunks.

Called by the driver's looks, under the engine's lock.  What counts is a worker's own memory: the blocks that it
shares with others are not its.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from procession.system import own_memory

if TYPE_CHECKING:
    from procession.engine.core import Core
    from procession.engine.handle import Handle

#: Between two looks at busy workers (each costs some 15 us a worker): a kill is due within 100 ms.
LIMIT_SECONDS = 0.04


class MemoryLimits:
    """Watches over the memory of the workers of one pool."""

    def __init__(self, core: Core, kill_above: int | None, replace_above: int | None) -> None:
        self._core = core
        self._kill_above = kill_above
        bounds = [each for each in (kill_above, replace_above) if each is not None]
        self._replace_above = min(bounds, default=None)

    def hold(self, handle: Handle) -> None:
        """Keep a new worker's work back until it has been admitted: else a short item may end before a look."""
        handle.held = self._kill_above is not None

    def admit(self, handle: Handle) -> bool:
        """Whether a worker that is ready may begin; one that is too large with nothing to do is killed."""
        if handle.held:
            if self._kill_if_large(handle):
                return False
            handle.held = False
            handle.flush()
            if handle.blocked:
                self._core.loop.watch_writing(handle.channel.fileno(), wanted=True)
        return True

    def look(self) -> float | None:
        """Kill what is too large; return in how many seconds to look again, None for never."""
        if self._kill_above is None:
            return None
        busy = self._core.scheduler.busy_slots()
        for slot in busy:
            self._kill_if_large(self._core.crew.handle(slot))
        return LIMIT_SECONDS if busy else None

    def _kill_if_large(self, handle: Handle) -> bool:
        limit = self._kill_above
        if limit is None or handle.stopping or own_memory(handle.child.pid) <= limit:
            return False
        handle.memory_limit = limit
        handle.kill()
        return True

    def is_full(self, handle: Handle) -> bool:
        """Whether a worker that has just finished a chunk should be replaced."""
        return self._replace_above is not None and own_memory(handle.child.pid) > self._replace_above
