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
from contextlib import suppress
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
ARENA = 10  #: whether the worker has an arena, whose descriptor it has sent
PINNED = 11  #: bytes that the worker keeps for good, because it has forked while it viewed them
BEGUN = 12  #: CLOCK_MONOTONIC nanoseconds at which an item began, if its chunk can be stopped
BEGUN_AT = 17  #: the index of that item, -1 for none: between two items it is still the last one
STDERR = 13  #: bytes of the tail of stderr
PEAK = 18  #: bytes of memory that the worker has had at most, as of its last finished chunk
# The words that the parent writes.
RECALLED = 7  #: the chunk whose rest the parent wants back
RECALLED_FROM = 8  #: index in that chunk of the first item that must not be begun
STOP_CHUNK = 14  #: the chunk of which an item has to stop
STOP_INDEX = 15  #: the index of that item
STOP_LIMIT = 16  #: the nanoseconds that it might have run; 0 if it is cancelled

_HEAD = 4096
_STDERR = 1024
STDERR_SIZE = 2048
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
#: Of the stacks behind the page, what is read: a hundred threads with twenty frames each.
_STACKS_LIMIT = 256 * 1024
#: Bytes of pickled outcomes of one leaf.  With the table it stays within one datagram.
DATA_SIZE = 44 * 1024
SIZE = DATA + max(DATA_SIZE, 8 * COLUMN_ROWS)


#: The index of a position before all items: the worker holds the chunk, and has not begun to read it.
BEFORE = -1


class Position(NamedTuple):
    """What a worker is doing: the chunk, and the index in it of the item that it runs."""

    seq: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    started_ns: int
    reading: bool  #: nothing of it has begun: it is being unpickled
    begun_ns: int = 0  #: when the item, or its reading, began; 0 if that is not known


class Ledger:
    """One mapping of the page, in the parent or in its worker."""

    def __init__(self, fd: int) -> None:
        self.fd = fd  #: ours to close
        self.closed = False
        self.map = mmap.mmap(fd, SIZE)
        self._view = memoryview(self.map)
        self.words = self._view[:_HEAD].cast("q")
        self.stderr = self._view[_STDERR : _STDERR + STDERR_SIZE]  #: the tail of what was written to stderr
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

    def keep_from_forks(self) -> None:
        """Have no fork of this process see the page.  By the worker.

        A task that forks, and whose child returns from it, would write the outcomes of the same items in the
        same page; so it ends there, by a SIGSEGV of its own.
        """
        if hasattr(mmap, "MADV_DONTFORK"):
            self.map.madvise(mmap.MADV_DONTFORK)

    def seek_stacks(self) -> None:
        """Have the next stacks written at the beginning of the room for them, behind the page."""
        if self.closed:
            return
        os.ftruncate(self.fd, SIZE)
        os.lseek(self.fd, SIZE, os.SEEK_SET)  # of the worker, too: the open file is the same

    def stacks(self) -> str:
        """The stacks that ``faulthandler`` has written."""
        return "" if self.closed else os.pread(self.fd, _STACKS_LIMIT, SIZE).decode("utf-8", "replace")

    def stacks_size(self) -> int:
        """How many bytes it has written."""
        return 0 if self.closed else os.fstat(self.fd).st_size - SIZE

    def stderr_tail(self) -> str:
        """The last lines of the worker's stderr."""
        tail = bytes(self.stderr[: self.words[STDERR]])
        if len(tail) == STDERR_SIZE:  # the first line has lost its beginning
            tail = tail.partition(b"\n")[2] or tail
        return tail.decode("utf-8", "replace")

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
        started, reading = words[STARTED], bool(words[READING])
        begun = words[BEGUN] if words[BEGUN_AT] == index else 0
        return Position(seq, index, started, reading, started if reading else begun)

    def place(self) -> tuple[int, int] | None:
        """The chunk and the index in it of the item whose call is going on.  By any thread of the worker.

        None between two items; and while the leaf is being turned, when the words do not belong together:
            a thread of the task: FIRST is 0 | worker's main thread: FIRST = 5, DONE = 0 | the thread: DONE is 0
        """
        words = self.words
        leaf, seq, reading = words[LEAF], words[CHUNK], words[READING]
        index = words[FIRST] + words[DONE]
        if leaf % 2 or not seq or reading or words[LEAF] != leaf:
            return None
        return seq, index

    def peek(self, limit: int | None = None) -> Part | None:
        """Copy the committed outcomes of the open leaf, or None when there are none to be had now.

        With ``limit``, only those of the chunk's items before that index.

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
        if limit is not None:
            count = min(count, limit - first)
            if count <= 0:
                return None
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

    def stop(self, position: Position, limit_ns: int) -> None:
        """Name the item that has to stop, before the signal.  By the parent."""
        words = self.words
        words[STOP_CHUNK] = 0
        words[STOP_INDEX] = position.index
        words[STOP_LIMIT] = limit_ns
        words[STOP_CHUNK] = position.seq

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
        """Close the descriptor and unmap the page; where a part of it is still viewed, with the last view."""
        self.closed = True
        os.close(self.fd)
        views = (self.words, self.stderr, self.table, self.times, self.ints, self.floats, self.data, self.stops)
        for each in (*views, self.given, self.taken, self._view):
            with suppress(BufferError):
                each.release()
        with suppress(BufferError):
            self.map.close()
