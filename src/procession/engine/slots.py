"""Slots: a worker's place in the schedule, and the life of a worker as far as scheduling goes.

Owned by the scheduler; pure.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

from procession.errors import InternalError

if TYPE_CHECKING:
    from procession.engine.work import Chunk


class SlotState(Enum):
    """The life of a worker, as far as scheduling goes."""

    STARTING = auto()  #: may hold one chunk, which waits for it
    READY = auto()
    RETIRING = auto()  #: finishes what it holds and gets no more
    GONE = auto()


_TRANSITIONS = {
    SlotState.STARTING: {SlotState.READY, SlotState.RETIRING, SlotState.GONE},
    SlotState.READY: {SlotState.RETIRING, SlotState.GONE},
    SlotState.RETIRING: {SlotState.GONE},
    SlotState.GONE: set(),
}


class Slot:
    """One worker's place in the schedule."""

    __slots__ = ("chunks", "number", "quota", "state", "stuck")

    def __init__(self, number: int, quota: int | None) -> None:
        self.number = number
        self.quota = quota  #: chunks that it may still be given
        self.state = SlotState.STARTING
        self.chunks: deque[Chunk] = deque()
        self.stuck = False  #: its item takes unexpectedly long, so nothing should wait behind it

    def become(self, state: SlotState) -> None:
        """Change the state, if that is legal."""
        if state not in _TRANSITIONS[self.state]:
            raise InternalError(f"worker {self.number}: {self.state.name} to {state.name}")
        self.state = state

    def find(self, seq: int) -> Chunk | None:
        """The chunk of this number, if the worker holds it.

        Mostly the first; but what is pickled already is sent at once, past what still has to be.
        """
        for chunk in self.chunks:
            if chunk.seq == seq:
                return chunk
        return None

    @property
    def can_take(self) -> bool:
        """Whether it may be given any chunk at all."""
        return self.quota != 0 and self.state in (SlotState.STARTING, SlotState.READY)
