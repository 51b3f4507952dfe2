"""Stacks: what every worker is doing, read without its cooperation.

``faulthandler`` writes the stacks of all threads from within a C signal handler, so native code and a held GIL do
not matter.  Nothing tells when it has finished: a dump is taken as whole when it has not grown for a few looks.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from procession.engine.slots import SlotState
from procession.system import STACKS_SIGNAL

if TYPE_CHECKING:
    from procession.engine.core import Core
    from procession.engine.handle import Handle
    from procession.engine.seat import Seat
    from procession.engine.work import Chunk
    from procession.wire.ledger import Position

_OUR_FRAME = f'  File "{os.path.dirname(os.path.dirname(__file__))}{os.sep}w'  # its wire and its worker

#: Between two looks at a dump.
STACK_STEP_SECONDS = 0.01
#: Looks without growth after which it is whole: a worker that has no core for longer than that loses the rest.
_QUIET_LOOKS = 3
#: A worker that has written nothing for so long (it is frozen, or waits for a disk) is left out.
STACK_LIMIT_SECONDS = 2.0


@dataclass(frozen=True)
class WorkerStack:
    """The Python stacks of one worker."""

    worker: int  #: its pid
    item: str  #: what it runs, as ``function(item)``; empty when it is idle
    index: int | None  #: the position of that item in its map
    seconds: float | None  #: how long it has been running, if that is known
    stack: str  #: the stacks of its threads, innermost call first; empty if it did not answer

    def __str__(self) -> str:
        place = f" (item {self.index})" if self.index is not None else ""
        since = f" for {self.seconds:.3g} s" if self.seconds is not None else ""
        doing = f"running {self.item}{place}{since}" if self.item else "idle"
        lines = (self.stack.strip() or "no stack could be had").splitlines()
        return "\n".join([f"worker {self.worker}, {doing}:", *(f"    {line}" for line in lines)])


class Stacks(list[WorkerStack]):
    """The stacks of all workers: rows, and a text when printed."""

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))


class StackReader:
    """Reads the stacks of one pool's workers, one such request at a time."""

    def __init__(self, core: Core, seat: Seat) -> None:
        self._core = core
        self._seat = seat
        self._turn = threading.RLock()  # a callback may ask while the same thread drives for an answer

    def read(self) -> Stacks:
        """The stacks of all workers that are up, and what they run.  Drives meanwhile; takes some 50 ms."""
        with self._turn:
            dumps = self._begin()
            deadline = time.monotonic() + STACK_LIMIT_SECONDS
            left = dumps
            while left and time.monotonic() < deadline:
                self._seat.wait(lambda: False, STACK_STEP_SECONDS)
                with self._core.lock:  # or a ledger might be closed while it is looked at
                    left = [dump for dump in left if not dump.is_whole()]
            with self._core.lock:
                texts = [dump.take() for dump in dumps]
            return Stacks([dump.row(text) for dump, text in zip(dumps, texts, strict=True)])

    def _begin(self) -> list[_Dump]:
        core = self._core
        with core.lock:
            core.begin()
            found = [_Dump(handle, *handle.running()) for handle in core.crew.handles() if _is_up(handle)]
            core.clean = True
        return found


def _is_up(handle: Handle) -> bool:
    """Whether a worker has a handler: one that starts would die of the signal.

    What it runs may be seen before its message that it is ready.
    """
    ready = handle.slot.state is SlotState.READY or handle.ledger.position() is not None
    return ready and not handle.stopping


class _Dump:
    """A dump of one worker that is under way."""

    def __init__(self, handle: Handle, chunk: Chunk | None, position: Position | None) -> None:
        self._handle = handle
        self._chunk = chunk
        self._position = position
        self._now = time.monotonic_ns()
        self._size = self._quiet = 0
        handle.ledger.seek_stacks()
        with suppress(ProcessLookupError):  # its end is about to be read
            os.kill(handle.child.pid, STACKS_SIGNAL)

    def is_whole(self) -> bool:
        """Look at it; return whether all of it is there."""
        size = self._handle.ledger.stacks_size()
        self._quiet = self._quiet + 1 if size and size == self._size else 0
        self._size = size
        return self._quiet >= _QUIET_LOOKS

    def take(self) -> str:
        """The text as far as it has come; the room for it is free for the next, or for a crash."""
        text = self._handle.ledger.stacks()
        self._handle.ledger.seek_stacks()
        return text

    def row(self, text: str) -> WorkerStack:
        """The row with that text."""
        chunk, position = self._chunk, self._position
        item, index, seconds = "", None, None
        if chunk is not None and position is not None:
            index, item = chunk.source.describe(chunk, position.index)
            item = f"{chunk.source.function.name}({item})"
            seconds = (self._now - position.begun_ns) * 1e-9 if position.begun_ns else None
        nothing = "no Python code of the task" if item else "waiting for work"
        return WorkerStack(self._handle.child.pid, item, index, seconds, without_our_frames(text, nothing))


def without_our_frames(text: str, nothing: str = "no Python code of the task") -> str:
    """Stacks without what leads to the user's function: each ends where our code begins.

    One that has ``nothing`` else says so.
    """
    kept: list[str] = []
    ours = False
    for line in text.splitlines():
        is_frame = line.startswith("  File ")
        ours = is_frame and (ours or line.startswith(_OUR_FRAME))
        if not ours:
            kept.append(line)
        elif kept and not kept[-1].startswith("  "):
            kept.append(f"  ({nothing})")
    return "\n".join(kept)
