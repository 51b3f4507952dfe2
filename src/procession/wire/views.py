"""Reading parcels: what stands in shared memory is mapped, and is this process's own from then on.

A block that others may read, too, is mapped privately (copy on write); one that was packed for this
receiver alone is mapped as it is, which spares the copies.  Either way its owner may write into it, and
nobody else sees that; and the lender is told when its last view is gone, which may be never.  A range
that cannot be mapped is copied.

The end of a view may come at any moment, in the garbage collector or under a Ctrl-C, so no Python code
runs then: a weak reference appends itself to ``_ended``, which is looked through at every read.

After a fork the child has views on the same pages: it would see what the parent writes into them, or
that they are recycled.  So all that is viewed at that moment becomes private, and is not given back: it
ends with this process.
"""

from __future__ import annotations

import os
import struct
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from procession.system import Descriptor, close_all
from procession.system.mapping import Range, make_private, map_range
from procession.wire import inherit
from procession.wire.parcel import HEAD, MARK, OWN_FILE, DescribedBlock, described_blocks
from procession.wire.segments import Segment, adopt
from procession.wire.serial import loads


class _Loan(NamedTuple):
    """One block that is viewed here."""

    end: Any  #: the weak reference that tells of its end
    lease: int
    mapped: weakref.ref[Range]
    arena: Descriptor
    offset: int  #: in the arena, if it is mapped as it is; -1 if it is private


_all: weakref.WeakSet[Views] = weakref.WeakSet()

#: Bytes that will not be given back before this process ends, because it has forked.
_pinned = 0


def pinned_bytes() -> int:
    """Bytes of blocks that this process keeps for good, on account of its forks."""
    return _pinned


def _keep_all() -> None:
    """Before a fork: make what is viewed now private, and never report its end."""
    for views in list(_all):
        views.keep_all()


os.register_at_fork(before=_keep_all)


class Views:
    """What one lender's blocks look like from here."""

    __slots__ = ("__weakref__", "_arena", "_ended", "_loans", "_page", "opened")

    def __init__(self, page: memoryview | None = None) -> None:
        """``page`` is where the end of a loan is noted, by the number of the loan."""
        self._page = page
        self._arena = Descriptor(-1)
        self._loans: dict[int, _Loan] = {}  # by the id of the reference that tells of the end
        self._ended: deque[Any] = deque()
        self.opened: list[Segment] | None = None  #: where to keep segments, if at all
        _all.add(self)

    def settle(self) -> None:
        """Tell the lender which views have ended."""
        ended = self._ended
        while ended:
            try:
                end = ended.popleft()
            except IndexError:  # another thread has looked at the same moment
                return
            loan = self._loans.pop(id(end), None)
            if loan is not None and loan.lease >= 0:
                self._report(loan.lease)

    def keep_all(self) -> None:
        """Make what is viewed now private, and never report its end."""
        global _pinned
        self.settle()
        loans, self._loans = self._loans, {}
        for loan in list(loans.values()):
            mapped = loan.mapped()
            if mapped is None:
                continue
            _pinned += len(mapped)
            if loan.offset >= 0:
                # One that cannot be made private, for want of memory, must not keep the others from it.
                with suppress(OSError):
                    make_private(mapped, loan.arena.fd, loan.offset)

    def skip(self, frame: bytes | memoryview) -> None:
        """Give back what a description lends, without reading it."""
        self._report_all(described_blocks(frame))

    def adopt(self, fd: int) -> None:
        """Take over the descriptor of the lender's arena, before the first of its blocks is met."""
        self._arena = Descriptor(fd)

    def __bool__(self) -> bool:
        """Whether something that is lent here is viewed."""
        return bool(self._loans)

    @property
    def has_arena(self) -> bool:
        """Whether the descriptor of the lender's arena has come."""
        return self._arena.fd >= 0

    def close(self) -> None:
        """Nothing more is read; the arena's descriptor goes with the last view."""
        self.settle()
        self._arena = Descriptor(-1)

    def read(self, frame: bytes | memoryview, fds: Sequence[int] = ()) -> Any:
        """Unpickle a frame, whether it is a pickle or the description of a parcel.

        ``fds`` came with the message, and stay the caller's.  On failure: what unpickling raises.
        """
        if self._ended:
            self.settle()
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
            close_all(fds[block.offset] for block in described_blocks(frame))

    def _open(self, frame: memoryview, fds: Sequence[int]) -> tuple[memoryview, list[memoryview], list[Segment]]:
        """The stream, the buffers and the segments of a description."""
        _mark, exclusive, blocks, spans, segments, inline = HEAD.unpack_from(frame)
        words = struct.unpack_from(f"<{3 * (blocks + spans) + 4 * segments}q", frame, HEAD.size)
        views = self._map_all(described_blocks(frame), fds, exclusive)
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

    def _map_all(self, blocks: Sequence[DescribedBlock], fds: Sequence[int], exclusive: bool) -> list[memoryview]:
        """A view of each block.  On failure none is lent any more: those viewed end with their views."""
        views: list[memoryview] = []
        try:
            for block in blocks:
                view = self._map(block, fds, exclusive)
                views.append(view)
        except BaseException:
            self._report_all(blocks[len(views) :])
            raise
        return views

    def _map(self, block: DescribedBlock, fds: Sequence[int], exclusive: bool) -> memoryview:
        lease, offset, length = block
        arena = self._arena
        fd, start = (fds[offset], 0) if lease == OWN_FILE else (arena.fd, offset)
        exclusive = exclusive and lease != OWN_FILE
        try:
            mapped = map_range(fd, start, length, shared=exclusive)
        except OSError:  # too many mappings, or no address space
            view = memoryview(_copy(fd, start, length))
            if lease >= 0:
                self._report(lease)
            return view
        if lease != OWN_FILE:
            end = weakref.ref(mapped.token, self._ended.append)
            self._loans[id(end)] = _Loan(end, lease, weakref.ref(mapped), arena, start if exclusive else -1)
        return memoryview(mapped)

    def _report_all(self, blocks: Sequence[DescribedBlock]) -> None:
        for block in blocks:
            if block.lease >= 0:
                self._report(block.lease)

    def _report(self, lease: int) -> None:
        """Note the end of a loan."""
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
