"""The warden: how an item that must not go on is stopped, one step at a time.  Pure.

It is asked first (an exception in its call), again and again for a grace.  Then its worker is frozen, and
only when that is certain, and the ledger says that it is still on the item, killed: a worker that has just
finished it, and begun the next, must not die for it.  So a reply that races the kill wins.

    IDLE -> ASKED -> FROZEN -> KILLED
      ^-------+---------'   (the worker has moved on)
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procession.wire.ledger import Position

#: How long a call may take to end after it has been asked to: time for ``finally``.
GRACE_SECONDS = 1.0

#: How long the kernel may take to freeze a worker before it is killed unfrozen: one that waits for a disk that
#: does not answer cannot be frozen, nor can it begin something else.
FREEZE_SECONDS = 2.0

#: The time between two steps.
STEP_SECONDS = 0.01


class Action(Enum):
    """What is to be done to a worker."""

    NONE = auto()
    ASK = auto()  #: raise in the item's call
    FREEZE = auto()
    RELEASE = auto()  #: let it run again
    KILL = auto()


class Stage(Enum):
    """How far it has come."""

    IDLE = auto()
    ASKED = auto()
    FROZEN = auto()
    KILLED = auto()


class Warden:
    """Stops the items of one worker."""

    __slots__ = ("_item", "_since", "stage")

    def __init__(self) -> None:
        self.stage = Stage.IDLE
        self._item: tuple[int, int, int] | None = None
        self._since = 0.0

    def step(self, now: float, position: Position | None, *, must_stop: bool, is_frozen: bool) -> Action:
        """What to do now; ``must_stop`` is about the item at ``position``."""
        # With its beginning: what has taken long to be read, and then begins, is another thing to stop.
        item = None if position is None else (position.seq, position.index, position.begun_ns)
        if self.stage is Stage.KILLED:
            return Action.NONE
        if self.stage is not Stage.IDLE and item != self._item:
            was_frozen = self.stage is Stage.FROZEN
            self.stage, self._item = Stage.IDLE, None
            return Action.RELEASE if was_frozen else self._begin(now, item, must_stop)
        if self.stage is Stage.IDLE:
            return self._begin(now, item, must_stop)
        if not must_stop:
            was_frozen = self.stage is Stage.FROZEN
            self.stage, self._item = Stage.IDLE, None
            return Action.RELEASE if was_frozen else Action.NONE
        if self.stage is Stage.ASKED:
            if now - self._since < GRACE_SECONDS:
                return Action.ASK
            self.stage, self._since = Stage.FROZEN, now
            return Action.FREEZE
        if is_frozen or now - self._since >= FREEZE_SECONDS:
            self.stage = Stage.KILLED
            return Action.KILL
        return Action.NONE

    def _begin(self, now: float, item: tuple[int, int, int] | None, must_stop: bool) -> Action:
        if item is None or not must_stop:
            return Action.NONE
        self.stage, self._item, self._since = Stage.ASKED, item, now
        return Action.ASK
