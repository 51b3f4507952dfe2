"""The ledger: a page of shared memory in which a worker writes what it is doing and has done.

The worker is the only writer (but for a request, see ``recall``), the parent reads at any time, and
neither waits for the other.
The worker notes the item that it begins, and each outcome as it happens; when the ledger is full
or the chunk is done it posts the outcomes as a message and starts a new leaf.  So the parent knows
without any message which item a dead worker was on, and finds there the outcomes of the items
before it; and it can read the outcomes of a chunk whose current item takes unexpectedly long.

Order of the stores: an outcome, its place in the table, and only then ``DONE`` (the items of this
leaf that are committed).  ``LEAF`` is odd while a leaf is being changed; a reader that copies
between two equal even values has a consistent leaf.
"""

from __future__ import annotations

import mmap
import os
from typing import NamedTuple

from procession.system import anonymous_file
from procession.wire.leases import LEASES
from procession.wire.messages import Mode, Part

# Words of 8 bytes at the head of the page.
CHUNK = 0  #: sequence number of the running chunk, 0 when idle
DONE = 1  #: items of this leaf that have an outcome; the next one is running
FIRST = 2  #: index in the chunk of the first item of this leaf
LEAF = 3  #: generation of the leaf, odd while it changes
MODE = 4  #: how the outcomes of this leaf are written
STARTED = 5  #: CLOCK_MONOTONIC nanoseconds at which the chunk began
TIMED = 6  #: whether the leaf has a column of seconds
READING = 9  #: whether the chunk's function and items are still being unpickled
# The two words that the parent writes.
RECALLED = 7  #: the chunk whose rest the parent wants back
RECALLED_FROM = 8  #: index in that chunk of the first item that must not be begun
PINNED = 11  #: bytes that the worker keeps for good, because it has forked while it viewed them
ARENA = 10  #: whether the worker has an arena, whose descriptor it has sent

_HEAD = 4096
#: Outcomes of one leaf.  The columns hold 8 bytes an outcome.
ROWS = 1024
_TABLE = _HEAD
_TIMES = _TABLE + 8 * ROWS
_STOPS = _TIMES + 8 * ROWS
COLUMN_ROWS = 7 * 1024
_GIVEN = _STOPS + COLUMN_ROWS
_TAKEN = _GIVEN + LEASES
#: Last in the page: a pickle that is too long for the leaf runs into the end of the mapping, and fails.
DATA = _TAKEN + LEASES
#: Bytes of pickled outcomes of one leaf.  With the table it stays within one datagram.
DATA_SIZE = 44 * 1024
SIZE = DATA + max(DATA_SIZE, 8 * COLUMN_ROWS)


class Position(NamedTuple):
    """What a worker is doing: the chunk, and the index in it of the item that it runs."""

    seq: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    started_ns: int
    reading: bool  #: nothing of it has begun: it is being unpickled


class Ledger:
    """One mapping of the page, in the parent or in its worker."""

    def __init__(self, fd: int) -> None:
        self.map = mmap.mmap(fd, SIZE)
        self._view = memoryview(self.map)
        self.words = self._view[:_HEAD].cast("q")
        self.table = self._view[_TABLE:_TIMES].cast("q")
        self.times = self._view[_TIMES:_STOPS].cast("d")
        self.ints = self._view[DATA : DATA + 8 * COLUMN_ROWS].cast("q")
        self.floats = self._view[DATA : DATA + 8 * COLUMN_ROWS].cast("d")
        self.data = self._view[DATA:]
        #: A flag for every row: whether the item must not be begun.  Written by the parent.
        self.stops = self._view[_STOPS:_GIVEN]
        #: A flag for every loan of a block to the worker, and one for every loan to the parent: whether
        #: it is over.  See ``leases``; each is written by the borrower.
        self.given = self._view[_GIVEN:_TAKEN]
        self.taken = self._view[_TAKEN:DATA]

    @staticmethod
    def create() -> int:
        """Make the memory of a new ledger and return its descriptor."""
        return anonymous_file("procession-ledger", SIZE)

    @classmethod
    def adopt(cls, fd: int) -> Ledger:
        """Map the page of ``fd`` and close the descriptor."""
        try:
            return cls(fd)
        finally:
            os.close(fd)

    def body(self, mode: Mode, timed: bool, count: int) -> list[memoryview]:
        """The bytes of the first ``count`` outcomes, as a PART message carries them."""
        if mode is Mode.FRAMES:
            end = abs(self.table[count - 1]) if count else 0
            parts = [self.table[:count].cast("B"), self.data[:end]]
        elif mode is Mode.NONES:
            parts = []
        else:
            parts = [self.data[: 8 * count]]
        if timed:
            parts.insert(0, self.times[:count].cast("B"))
        return parts

    def position(self) -> Position | None:
        """What the worker is doing, or None when it is idle."""
        words = self.words
        seq = words[CHUNK]
        if not seq:
            return None
        index = words[FIRST] + words[DONE]
        return Position(seq, index, words[STARTED], bool(words[READING]))

    def peek(self) -> Part | None:
        """Copy the committed outcomes of the open leaf, or None when there are none to be had now.

        The worker may be posting the leaf at this moment:
            reader: LEAF == 4 | worker: posts, LEAF = 5, ..., LEAF = 6 | reader: copies new bytes
        The second look at LEAF sees the change, and the copy is dropped.
        """
        words = self.words
        leaf = words[LEAF]
        seq, count, timed = words[CHUNK], words[DONE], bool(words[TIMED])
        if leaf % 2 or not seq or not count:
            return None
        first, mode, started = words[FIRST], Mode(words[MODE]), words[STARTED]
        body = memoryview(b"".join(self.body(mode, timed, count)))
        if words[LEAF] != leaf or words[CHUNK] != seq:
            return None
        return Part(mode, False, timed, count, seq, first, float(started), body)

    def recall(self, position: Position) -> None:
        """Ask that nothing of a chunk be begun behind the item at ``position``.  By the parent.

        The worker ends the chunk at the first flagged row that it comes to, and says where.  When it
        is still at ``position`` at the next look, milliseconds later, what is behind is the parent's
        at once: the worker notes an item before it reads the flag of the next, so an item that it
        had begun would long be visible.  A leaf that is turned meanwhile gets its flags anew from
        the two words (``renew_recall``); flags that come too late or too low only end a chunk early.
        """
        row = self.words[DONE]
        self.words[RECALLED_FROM] = position.index + 1
        self.words[RECALLED] = position.seq
        self.stops[row + 1 :] = b"\1" * (COLUMN_ROWS - row - 1)

    def renew_recall(self) -> None:
        """Raise the flags of a new leaf as far as its chunk is recalled.  By the worker."""
        words = self.words
        if words[RECALLED] == words[CHUNK]:
            kept = min(COLUMN_ROWS, max(0, words[RECALLED_FROM] - words[FIRST]))
            self.stops[:] = bytes(kept) + b"\1" * (COLUMN_ROWS - kept)

    def forget_recall(self) -> None:
        """Lower the flags, before another chunk.  By the worker.

        Flags that the parent raises too late end the next chunk early, which costs a message.
        """
        self.stops[:] = bytes(COLUMN_ROWS)
        self.words[RECALLED] = 0

    def close(self) -> None:
        """Unmap the page."""
        for view in (self.words, self.table, self.times, self.ints, self.floats, self.data):
            view.release()
        for flags in (self.stops, self.given, self.taken):
            flags.release()
        self._view.release()
        self.map.close()
