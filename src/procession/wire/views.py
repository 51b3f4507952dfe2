"""Reading parcels: what stands in shared memory is mapped, and is this process's own from then on.

A block that others may read, too, is mapped privately (copy on write); one that was packed for this
receiver alone is mapped as it is, which spares the copies.  Either way its owner may write into it, and
nobody else sees that; and the lender is told when its last view is gone, which may be never.  A range
that cannot be mapped is copied.

After a fork the child has views on the same pages: it would see what the parent writes into them, or
that they are recycled.  So all that is viewed at that moment becomes private, and is not given back: it
ends with this process.

Owns the table of what is viewed in this process.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from procession.system import close_all
from procession.system.mapping import Keeper, make_private, map_range
from procession.wire import inherit
from procession.wire.parcel import HEAD, MARK, OWN_FILE
from procession.wire.segments import Segment, adopt
from procession.wire.serial import loads


class _Descriptor:
    """The descriptor of a lender's arena; needed as long as something of it is viewed."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


#: What is viewed of arenas, and where it is there.  Private views are in it with an offset of -1.
_lent: WeakKeyDictionary[Keeper, tuple[_Descriptor, int]] = WeakKeyDictionary()


def _keep_all() -> None:
    """Before a fork: make what is viewed now private, and never report its end."""
    for keeper, (arena, offset) in list(_lent.items()):
        keeper.on_free = None
        if offset >= 0:
            make_private(keeper, arena.fd, offset)
    _lent.clear()


os.register_at_fork(before=_keep_all)


class Views:
    """What one lender's blocks look like from here."""

    __slots__ = ("_arena", "_page", "opened")

    def __init__(self, page: memoryview | None = None) -> None:
        """``page`` is where the end of a loan is noted, by the number of the loan."""
        self._page = page
        self._arena = _Descriptor(-1)
        self.opened: list[Segment] | None = None  #: where to keep segments, if at all

    def adopt(self, fd: int) -> None:
        """Take over the descriptor of the lender's arena, before the first of its blocks is met."""
        self._arena = _Descriptor(fd)

    @property
    def has_arena(self) -> bool:
        """Whether the descriptor of the lender's arena has come."""
        return self._arena.fd >= 0

    def close(self) -> None:
        """Nothing more is read; the arena's descriptor goes with the last view."""
        self._arena = _Descriptor(-1)

    def read(self, frame: bytes | memoryview, fds: Sequence[int] = ()) -> Any:
        """Unpickle a frame, whether it is a pickle or the description of a parcel.

        ``fds`` came with the message, and stay the caller's.  On failure: what unpickling raises.
        """
        if frame[0] != MARK:
            return loads(frame)
        stream, buffers, segments = self._open(memoryview(frame), fds)
        if self.opened is not None:
            self.opened += segments
        return loads(stream, buffers=buffers)  # until here, nothing else may have kept the segments

    def read_started(self, frame: bytes) -> Any:
        """Unpickle a frame that came with the start of this process, and close the files that came for it."""
        fds = inherit.fds()
        try:
            return self.read(frame, fds)
        finally:
            if frame[0] == MARK:
                blocks = HEAD.unpack_from(frame)[2]
                words = struct.unpack_from(f"<{3 * blocks}q", frame, HEAD.size)
                close_all(fds[which] for which in words[1::3])

    def _open(self, frame: memoryview, fds: Sequence[int]) -> tuple[memoryview, list[memoryview], list[Segment]]:
        """The stream, the buffers and the segments of a description."""
        _mark, exclusive, blocks, spans, segments, inline = HEAD.unpack_from(frame)
        words = struct.unpack_from(f"<{3 * (blocks + spans) + 4 * segments}q", frame, HEAD.size)
        views = [self._map(words[at : at + 3], fds, exclusive) for at in range(0, 3 * blocks, 3)]
        buffers = []
        for at in range(3 * blocks, 3 * (blocks + spans), 3):
            block, start, length = words[at : at + 3]
            buffers.append(views[block][start : start + length])
        found = []
        for at in range(3 * (blocks + spans), len(words), 4):
            which, size, *name = words[at : at + 4]
            found.append(adopt((name[0], name[1]), os.dup(fds[which]), size))
        stream = frame[len(frame) - inline :] if inline else buffers.pop(0)
        return stream, buffers, found

    def _map(self, block: tuple[int, ...], fds: Sequence[int], exclusive: bool) -> memoryview:
        lease, offset, length = block
        arena = self._arena
        fd, start = (fds[offset], 0) if lease == OWN_FILE else (arena.fd, offset)
        exclusive = exclusive and lease != OWN_FILE
        try:
            region = map_range(fd, start, length, shared=exclusive)
        except OSError:  # too many mappings, or no address space
            view = memoryview(_copy(fd, start, length))
            if lease >= 0:
                self._report(lease)
            return view
        if lease != OWN_FILE:
            _lent[region.keeper] = (arena, start if exclusive else -1)
            if lease >= 0:
                region.keeper.on_free = lambda: self._report(lease)
        return region.view

    def _report(self, lease: int) -> None:
        """Note the end of a loan.  May be called by the garbage collector, in any thread."""
        if self._page is not None:
            try:  # noqa: SIM105
                self._page[lease] = 1
            except ValueError:  # the lender is gone, and its page too
                pass


def _copy(fd: int, offset: int, length: int) -> bytearray:
    data = bytearray(length)
    view, done = memoryview(data), 0
    while done < length:
        read = os.preadv(fd, [view[done:]], offset + done)
        if not read:
            raise OSError(f"a block of {length} bytes ends after {done}")
        done += read
    return data
