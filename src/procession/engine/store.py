"""The store: the parent's shared memory for what a pool sends to its workers.

Owns the pool's arena.  Packing is done by whoever pickles, without the engine's lock; a limit that is
reached is a ``NoRoom``, which the caller turns into waiting.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from procession.system import usable_memory
from procession.wire.arena import IDLE_SECONDS, Arena, NoRoom, size_class
from procession.wire.parcel import AnyBlock, FileBlock, Frame, Known, pack
from procession.wire.pickled import Pickled
from procession.worker.memory import Limits

#: Of the memory that may be used, what the blocks of one pool may hold unless the caller says otherwise.
DEFAULT_SHARE = 0.5

#: Of that, what the workers together may keep for results; more goes into files that are not recycled.
_RESULTS_SHARE = 0.25

#: Shared memory behind the items of one chunk: long against the cost of a message, short against memory.
CHUNK_BYTES = 32 << 20


def _nothing() -> None:
    return None


class Store:
    """The blocks of one pool."""

    def __init__(self, limit: int | None, workers: int) -> None:
        total = limit if limit is not None else int(DEFAULT_SHARE * usable_memory())
        results = int(total * _RESULTS_SHARE)
        self.total = total
        self.worker_limits = Limits(results // workers, total)
        self.pinned_limit = total // 16  #: of what a worker may keep for good; then it is replaced
        self._arena = Arena(total - results)
        self._alone = threading.Lock()
        self._giant: Callable[[], FileBlock | None] = _nothing

    def fileno(self) -> int:
        """The descriptor of the arena."""
        return self._arena.fileno()

    def pack(self, pickled: Pickled, known: Known | None = None, *, exclusive: bool = True) -> Frame:
        """Copy what is large of a pickle into shared memory, which is for one worker alone if ``exclusive``.

        On failure: ``NoRoom`` when there will be some later; ``MemoryError`` when it never fits.
        """
        try:
            return pack(pickled, self._allocate, known, exclusive=exclusive)
        except NoRoom:
            if known is None:
                raise
            known.clear()  # it may be what takes the room
            return pack(pickled, self._allocate, known)

    def _allocate(self, length: int) -> AnyBlock:
        if size_class(length) <= self._arena.limit:
            return self._arena.allocate(length)
        if length > self.total:
            raise MemoryError(
                f"an object of {length:,} bytes does not fit into the shared memory of the pool, "
                f"block_memory={self.total:,}. Send it in parts, send a path to a file, or give the pool more"
            )
        with self._alone:  # or two threads would make two
            if not self.has_room(length):
                raise NoRoom(length, self._arena.used, self.total)
            giant = FileBlock(length)
            self._giant = weakref.ref(giant)
            return giant

    def has_room(self, length: int) -> bool:
        """Whether a block of ``length`` bytes could be had now; one larger than the arena must be alone."""
        if size_class(length) <= self._arena.limit:
            return self._arena.has_room(length)
        return self._giant() is None and self._arena.has_room(self._arena.limit)

    def exhausted(self, full: NoRoom) -> MemoryError:
        """The error for a wait that cannot end: nothing runs, and yet there is no room."""
        return MemoryError(
            f"no room for {full.wanted:,} bytes of shared memory: {full.used:,} of {full.limit:,} are in use "
            f"(block_memory={self.total:,}), and nothing runs that would give some back. Workers may keep "
            "arrays of earlier items in global variables or caches; give the pool more, or let them go"
        )

    @property
    def has_free(self) -> bool:
        """Whether ``trim`` would have something to give back, sooner or later."""
        return self._arena.has_free

    def trim(self) -> None:
        """Give back to the system what has not been used for a while."""
        self._arena.trim(IDLE_SECONDS)

    def close_after_fork(self) -> None:
        """Close it in a forked child."""
        self._alone = threading.Lock()
        self._arena.close_after_fork()

    def close(self) -> None:
        """Give everything back; what workers have mapped ends with them."""
        self._arena.close()
