"""An arena: the shared memory in which one process writes what others are to map.

One anonymous file, grown as needed, so it costs one descriptor however many blocks it has.  A block is
an extent of that file; it is recycled when the last Python reference to it has gone, which is how all
that need it hold it: a pickled item that waits, a lease to another process.  Recycling matters: a
fresh 64 MB extent took 32 ms to fill, a warm one 3 ms, through a mapping that is kept for it.

Any thread may allocate; a lock guards the lists, held for no longer than a look at them.  The end of a
block may come at any moment, in the garbage collector or under a Ctrl-C, so no Python code runs then:
the weak reference to it appends itself to ``_returned``, which whoever has the lock looks through.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Sequence

from procession.system import Descriptor, anonymous_file
from procession.system.mapping import PAGE, Range, map_range, punch_hole
from procession.wire.channel import Buffer

#: A free extent that has not been used for so long goes back to the system.
IDLE_SECONDS = 10.0

#: Extents from here on keep a mapping when they are used again: copying into one that is mapped is three
#: times as fast as ``pwrite`` (2.8 ms against 9.0 ms for 64 MB); for smaller ones it does not show.
_MAPPED_SIZE = 1 << 20

#: The first copy through a mapping pays for its pages (37 ms for 128 MB, against 18 ms by ``pwrite``), the next
#: ones take 6 ms: worth it for an extent that has come back twice.
_MAPPED_FROM = 2

#: Buffers that one ``pwritev`` takes.
_VECTOR = 512


class NoRoom(Exception):
    """The arena has reached its limit: ``wanted`` bytes do not fit beside ``used``."""

    def __init__(self, wanted: int, used: int, limit: int) -> None:
        super().__init__(wanted, used, limit)
        self.wanted = wanted
        self.used = used
        self.limit = limit


class _Extent:
    """A range of the file, in a block or free."""

    __slots__ = ("filled", "freed_at", "mapped", "offset", "size", "written")

    def __init__(self, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size
        self.written = 0  #: how often
        self.filled = 0  #: bytes from its beginning that have memory behind them
        self.mapped: Range | None = None
        self.freed_at = 0.0


class Block:
    """An extent in use, and how many of its bytes; it is recycled when the block is collected."""

    __slots__ = ("__weakref__", "_extent", "_file", "length")

    def __init__(self, file: Descriptor, extent: _Extent, length: int) -> None:
        self._file = file  # a thread may write into a block while another closes the arena
        self._extent = extent
        self.length = length

    @property
    def offset(self) -> int:
        """Where it begins in the arena's file."""
        return self._extent.offset

    def fileno(self) -> int:
        """The descriptor of the arena's file."""
        return self._file.fd

    def write(self, parts: Sequence[Buffer]) -> None:
        """Fill the block from its beginning with the concatenation of ``parts``."""
        extent = self._extent
        # Through a mapping only what has memory already: where there is none left, that would be a SIGBUS.
        if extent.written >= _MAPPED_FROM and extent.size >= _MAPPED_SIZE and self.length <= extent.filled:
            if extent.mapped is None:
                extent.mapped = map_range(self._file.fd, extent.offset, extent.size, shared=True)
            view, position = memoryview(extent.mapped), 0
            for part in parts:
                end = position + len(part)
                view[position:end] = part
                position = end
        else:
            write_vector(self._file.fd, parts, extent.offset)
            extent.written += 1
            extent.filled = max(extent.filled, self.length)


class Arena:
    """The blocks of one process for one purpose, up to a limit of bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0  #: bytes of extents in blocks
        self._held = 0  #: bytes of all extents that may have memory behind them
        self._file = Descriptor(-1)
        self._end = 0
        self._lock = threading.Lock()
        self._blocks: dict[int, tuple[weakref.ref[Block], _Extent]] = {}  # by the id of the reference
        self._returned: deque[weakref.ref[Block]] = deque()
        self._free: defaultdict[int, list[_Extent]] = defaultdict(list)
        self._holes: defaultdict[int, list[int]] = defaultdict(list)

    def fileno(self) -> int:
        """The descriptor of the file, which exists from the first block on; -1 before."""
        return self._file.fd

    def allocate(self, length: int) -> Block:
        """Take a block of ``length`` bytes, a recycled one if there is one.

        On failure: ``NoRoom``; ``OSError`` when the system has no memory.
        """
        size = size_class(length)
        with self._lock:
            self._drain()
            free = self._free[size]
            extent = free.pop() if free else self._grow(size)
            self.used += size
            block = Block(self._file, extent, length)
            end = weakref.ref(block, self._returned.append)
            self._blocks[id(end)] = (end, extent)
        return block

    def has_room(self, length: int) -> bool:
        """Whether ``allocate`` would find room now."""
        with self._lock:
            self._drain()
            return self.used + min(size_class(length), self.limit) <= self.limit

    @property
    def has_free(self) -> bool:
        """Whether there are extents that may go back to the system."""
        return bool(self._returned) or any(self._free.values())

    def trim(self, idle_seconds: float) -> None:
        """Give free extents back to the system that have not been used for ``idle_seconds``."""
        horizon = time.monotonic() - idle_seconds
        with self._lock:
            self._drain()
            for size, extents in self._free.items():
                self._free[size] = [each for each in extents if each.freed_at > horizon]
                for extent in extents:
                    if extent.freed_at <= horizon:
                        self._punch(extent)

    def close(self) -> None:
        """Let the file go, which closes it with its last block.  What others have mapped stays with them."""
        with self._lock:
            self.limit = 0
            self._free.clear()
            self._blocks.clear()
            self._file = Descriptor(-1)

    def close_after_fork(self) -> None:
        """Close it in a forked child, where another thread's lock would stay locked."""
        self._lock = threading.Lock()
        self.close()

    # With the lock held.

    def _drain(self) -> None:
        """Make the extents of blocks that have gone free, the last one first in line."""
        returned, now = self._returned, 0.0
        while returned:
            entry = self._blocks.pop(id(returned.popleft()), None)
            if entry is None:
                continue
            extent = entry[1]
            self.used -= extent.size
            now = now or time.monotonic()
            extent.freed_at = now
            self._free[extent.size].append(extent)

    def _grow(self, size: int) -> _Extent:
        if self.used + size > self.limit:
            raise NoRoom(size, self.used, self.limit)
        if self._held + size > self.limit:  # what is kept for other sizes has to go
            for extents in self._free.values():
                while extents and self._held + size > self.limit:
                    self._punch(extents.pop(0))
        if self._file.fd < 0:
            self._file = Descriptor(anonymous_file("procession-arena"))
        holes = self._holes[size]
        if holes:
            offset = holes.pop()
        else:
            offset = self._end
            os.ftruncate(self._file.fd, offset + size)
            self._end = offset + size
        self._held += size
        return _Extent(offset, size)

    def _punch(self, extent: _Extent) -> None:
        extent.mapped = None
        punch_hole(self._file.fd, extent.offset, extent.size)
        self._held -= extent.size
        self._holes[extent.size].append(extent.offset)


def size_class(length: int) -> int:
    """The size of the extents for ``length`` bytes: whole pages, four sizes for each doubling.

    Pages that a block does not need are never touched, so rounding up costs no memory by itself.
    """
    pages = max(1, -(-length // PAGE))
    shift = max(0, pages.bit_length() - 3)
    return (-(-pages >> shift) << shift) * PAGE


def write_vector(fd: int, parts: Sequence[Buffer], offset: int) -> None:
    """Write the concatenation of ``parts`` at ``offset``; short writes (over 2 GiB, signals) go on."""
    views = [memoryview(part) for part in parts if len(part)]
    first = 0
    while first < len(views):
        written = os.pwritev(fd, views[first : first + _VECTOR], offset)
        offset += written
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]
