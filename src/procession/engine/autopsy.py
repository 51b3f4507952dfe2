"""The autopsy: what can be known of the end of a worker, gathered into one error.

Reads the worker's ledger and the system's count of processes killed for want of memory.  Called by the
driver, under the engine's lock.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from procession.engine.stacks import without_our_frames
from procession.errors import WorkerDied
from procession.launch.child import LOST
from procession.system import oom_kills, usable_memory

if TYPE_CHECKING:
    from procession.engine.handle import Handle
    from procession.wire.endings import Ending

#: A worker that was killed, and had used this part of all there is, was most likely killed for it.
_MOST = 0.8


class Autopsy:
    """Finds out why workers died."""

    def __init__(self) -> None:
        self._oom_kills = oom_kills()

    def examine(self, handle: Handle, ending: Ending) -> WorkerDied:
        """The error for what the worker was running."""
        peak = ending.peak_kb * 1024
        death = WorkerDied(
            handle.child.pid,
            None if ending is LOST else ending.exitcode,
            seconds=_seconds(handle),
            peak_memory=peak or None,
            memory_limit=handle.memory_limit,
            stderr=handle.ledger.stderr_tail(),
            stack=without_our_frames(handle.ledger.stacks()) if ending.exitcode < 0 else "",
        )
        if ending.exitcode == -signal.SIGKILL and handle.memory_limit is None:
            death.out_of_memory = self._was_out_of_memory() or peak > _MOST * usable_memory()
        elif handle.memory_limit is not None:
            death.out_of_memory = True
        return death

    def _was_out_of_memory(self) -> bool:
        """Whether the kernel has killed anything for want of memory since the last time."""
        before, self._oom_kills = self._oom_kills, oom_kills()
        return self._oom_kills > before


def _seconds(handle: Handle) -> float | None:
    """How long the item had run; of one within a chunk that is only known if the chunk notes it."""
    position = handle.ledger.position()
    if position is None or position.reading:
        return None
    begun = position.begun_ns or (0 if position.index else position.started_ns)
    return (time.monotonic_ns() - begun) * 1e-9 if begun else None
