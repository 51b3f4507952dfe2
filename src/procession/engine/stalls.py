"""Stalls: says once of every item that has been running for suspiciously long which one it is.

Called by the driver's looks, under the engine's lock; the warning itself is an errand.
"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

from procession.errors import StallWarning

if TYPE_CHECKING:
    from procession.engine.core import Core
    from procession.engine.work import Chunk


class Stalls:
    """Watches over how long the items of one pool take."""

    def __init__(self, core: Core, after: float | None) -> None:
        self._core = core
        self._after = after  #: seconds
        self._warned: dict[int, tuple[int, int]] = {}  # by slot: the item of the last warning

    def look(self) -> float | None:
        """Warn of what is due; return in how many seconds to look again, None for never."""
        if self._after is None:
            return None
        core, wanted = self._core, []
        for slot in core.scheduler.busy_slots():
            handle = core.crew.handle(slot)
            chunk, position = handle.running()
            if chunk is None or position is None:
                wanted.append(self._after)
                continue
            seconds = (time.monotonic_ns() - (position.begun_ns or position.started_ns)) * 1e-9
            item = (position.seq, position.index)
            if seconds < self._after:
                wanted.append(self._after - seconds)
            elif self._warned.get(slot.number) != item:
                self._warned[slot.number] = item
                core.accounts.add_errand(_warn, chunk, position.index, seconds, handle.child.pid)
            else:
                wanted.append(self._after)
        return min(wanted, default=None)


def _warn(chunk: Chunk, index: int, seconds: float, pid: int) -> None:
    place, item = chunk.source.describe(chunk, index)
    which = f" (item {place})" if place is not None else ""
    warning = StallWarning(
        f"{chunk.source.function.name}({item}){which} has been running for {seconds:.3g} s in worker {pid}; "
        "pool.dump_stacks() shows where it is"
    )
    try:
        warnings.warn(warning, stacklevel=2)
    except StallWarning:  # warnings are errors; but there is nobody here who could be told by one
        warnings.showwarning(warning, StallWarning, __file__, 0)
