"""A parcel: a pickle of which a part stands in shared memory, and the short text that describes it.

The sender packs a pickle into a parcel, once, and describes it to each receiver (``describe``); a
receiver reads the description (``views.py``).  Where a message has a pickle, it may have a description
instead: a pickle begins with 0x80, a description with 0.

    description = head, blocks, spans, segments, and the stream, unless that is the first span
    block       = lease, offset in the sender's arena, length        (or: OWN_FILE, which descriptor, length)
    span        = number of the block, offset in it, length          (a buffer)
    segment     = which descriptor, size, name in two words
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from procession.system import Descriptor, anonymous_file
from procession.system.mapping import map_range
from procession.wire.arena import Block, write_vector
from procession.wire.channel import INLINE_LIMIT, Buffer
from procession.wire.pickled import SMALL, Pickled
from procession.wire.segments import Segment

MARK = 0
#: Mark; whether the blocks are the receiver's alone; numbers of blocks, spans and segments; length of the stream.
HEAD = struct.Struct("<B?xxIIIQ")
NEVER_REPORTED = -1  #: a lease of which no number was left: it ends with the receiver
OWN_FILE = -2

#: Buffers begin at multiples of this: a cache line, and what vector instructions want.
ALIGNMENT = 64

#: Streams above this go into the block, too.
STREAM_LIMIT = SMALL

_PADDING = bytes(ALIGNMENT)

#: Bytes that are compared at once.
_PIECE = 256 * 1024


class FileBlock:
    """A block that is an anonymous file of its own, closed with its last reference."""

    __slots__ = ("__weakref__", "_file", "length")
    offset = 0

    def __init__(self, length: int) -> None:
        self.length = length
        self._file = Descriptor(anonymous_file("procession-block", length))

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self._file.fd

    def write(self, parts: Sequence[Buffer]) -> None:
        """Fill the block from its beginning with the concatenation of ``parts``."""
        write_vector(self.fileno(), parts, 0)


AnyBlock = Block | FileBlock
Allocate = Callable[[int], AnyBlock]


class Span(NamedTuple):
    """Where a buffer is."""

    block: AnyBlock
    start: int
    length: int


class Known:
    """The arrays that have been packed last and may be met again: each is stored once.

    A buffer that is kept here is exported by its owner, so nothing else can take its address.  With
    ``verify`` the owner may have changed it meanwhile, so it is compared with what was stored.
    """

    def __init__(self, limit: int, *, verify: bool) -> None:
        self._limit = limit
        self._verify = verify
        self._spans: dict[tuple[int, int], tuple[memoryview, Span]] = {}
        self._views: dict[AnyBlock, memoryview] = {}  # mapped once: the page faults cost as much as the comparison

    def find(self, buffer: memoryview) -> Span | None:
        """Where the buffer has been stored, if it is there unchanged."""
        key = _place(buffer)
        entry = self._spans.get(key) if key is not None else None
        if entry is None or key is None:
            return None
        if self._verify and not self._is_stored(buffer, entry[1]):
            del self._spans[key]
            self._drop_views()
            return None
        return entry[1]

    def _is_stored(self, buffer: memoryview, span: Span) -> bool:
        """Whether the bytes of ``span`` are still those of ``buffer``."""
        view = self._views.get(span.block)
        if view is None:
            view = self._views[span.block] = _view(span.block)
        return same_bytes(view[span.start : span.start + span.length], buffer)

    def _drop_views(self) -> None:
        """Forget the views of blocks that no span is in."""
        used = {span.block for _buffer, span in self._spans.values()}
        for block in [block for block in self._views if block not in used]:
            del self._views[block]

    def note(self, buffer: memoryview, span: Span) -> None:
        """Remember where the buffer is stored; what was noted longest ago is forgotten."""
        spans, key = self._spans, _place(buffer)
        if key is None:
            return
        spans[key] = (buffer, span)
        if len(spans) > self._limit:
            del spans[next(iter(spans))]
            self._drop_views()

    def clear(self) -> None:
        """Forget everything."""
        self._spans.clear()
        self._views.clear()


class Parcel:
    """A packed pickle."""

    __slots__ = ("__weakref__", "_blocks", "_exclusive", "_segments", "_size", "_spans", "_stream", "nbytes")

    def __init__(self, stream: bytes, spans: list[Span], segments: Sequence[Segment], exclusive: bool) -> None:
        blocks: dict[AnyBlock, int] = {}
        for span in spans:
            blocks.setdefault(span.block, len(blocks))
        self._stream = stream
        self._exclusive = exclusive
        self._blocks = list(blocks)
        self._spans = [(blocks[block], start, length) for block, start, length in spans]
        self._segments = tuple(segments)
        self._size = HEAD.size + 24 * (len(blocks) + len(spans)) + 32 * len(segments) + len(stream)
        self.nbytes = sum(block.length for block in blocks)  #: of shared memory

    def __len__(self) -> int:
        """The length of a description."""
        return self._size

    def holds(self, pickled: Pickled) -> bool:
        """Whether this is what ``pickled``, packed into a file of its own, would become."""
        if tuple(pickled.segments) != self._segments:
            return False
        expected = list(pickled.buffers)
        if not self._stream and pickled.stream:
            expected.insert(0, memoryview(pickled.join()))
        elif self._stream != pickled.join():
            return False
        if [each.nbytes for each in expected] != [length for _block, _start, length in self._spans]:
            return False
        stored = [_view(self._blocks[block]) for block in range(len(self._blocks))]
        return all(
            same_bytes(stored[block][start : start + length], each)
            for (block, start, length), each in zip(self._spans, expected, strict=True)
        )

    @property
    def fd_count(self) -> int:
        """How many descriptors travel with it."""
        return len(self._segments) + sum(type(block) is FileBlock for block in self._blocks)

    def describe(self, lend: Callable[[Block], int], fds: list[int]) -> bytes:
        """The text for one receiver, to whom ``lend`` lends a block.

        What must travel with it is added to ``fds``: descriptors that the caller closes when it is sent.
        """
        words: list[int] = []
        for block in self._blocks:
            if type(block) is FileBlock:
                words += (OWN_FILE, len(fds), block.length)
                fds.append(os.dup(block.fileno()))
            else:
                words += (lend(block), block.offset, block.length)  # type: ignore[arg-type]
        for span in self._spans:
            words += span
        for segment in self._segments:
            words += (len(fds), segment.size, *segment.name)
            fds.append(os.dup(segment.fd))
        head = HEAD.pack(
            MARK, self._exclusive, len(self._blocks), len(self._spans), len(self._segments), len(self._stream)
        )
        return head + struct.pack(f"<{len(words)}q", *words) + self._stream


Frame = bytes | Parcel


def _no_lender(block: Block) -> int:
    """For parcels that stand in files of their own, of which nothing is lent."""
    raise TypeError(f"{block!r} is part of an arena")


def pack(pickled: Pickled, allocate: Allocate, known: Known | None = None, *, exclusive: bool = True) -> Frame:
    """Copy what is large of a pickle into a block of ``allocate``; what is small stays as it is.

    ``exclusive``: it will be described once, and nobody else reads the block.  Not with ``known`` buffers,
    of which others may read the same.  On failure: what ``allocate`` raises; ``MemoryError`` when the system
    has no memory for it.
    """
    stream, buffers, segments = pickled.stream, pickled.buffers, pickled.segments
    size = sum(map(len, stream))
    moved = size > STREAM_LIMIT if buffers else size > INLINE_LIMIT
    if not moved and not buffers and not segments:
        return pickled.join()
    spans: list[Span | None] = []
    parts: list[Buffer] = []
    fresh: list[tuple[int, memoryview, int]] = []
    end = 0
    if moved:
        parts, end = list(stream), size
        spans.append(None)
    for buffer in buffers:
        span = known.find(buffer) if known is not None else None
        if span is None or span in spans:  # two views of one array are two arrays on the other side
            span = None
            end = _pad(parts, end)
            fresh.append((len(spans), buffer, end))
            parts.append(buffer)
            end += len(buffer)
        spans.append(span)
    if end:
        try:
            block = allocate(end)
            block.write(parts)
        except OSError as error:
            raise MemoryError(f"the system has no room for {end:,} bytes of shared memory: {error}") from error
        if moved:
            spans[0] = Span(block, 0, size)
        for place, buffer, start in fresh:
            spans[place] = span = Span(block, start, len(buffer))
            if known is not None:
                known.note(buffer, span)
    stream_here = b"" if moved else pickled.join()
    return Parcel(stream_here, spans, segments, exclusive and known is None)  # type: ignore[arg-type]


def describe_file(frame: Frame, fds: list[int]) -> bytes:
    """A frame of ``pack_file`` for one receiver; what must travel with it is added to ``fds``."""
    return frame if isinstance(frame, bytes) else frame.describe(_no_lender, fds)


def pack_file(pickled: Pickled) -> Frame:
    """Pack into a file of its own, which any number of receivers may get at any time."""
    return pack(pickled, FileBlock, exclusive=False)


def _pad(parts: list[Buffer], end: int) -> int:
    rest = -end % ALIGNMENT
    if rest:
        parts.append(_PADDING[:rest])
    return end + rest


def _place(buffer: memoryview) -> tuple[int, int] | None:
    """Where the bytes of an array are, as long as it is exported; other buffers their owners may resize."""
    interface = getattr(buffer.obj, "__array_interface__", None)
    return (interface["data"][0], buffer.nbytes) if interface else None


def _view(block: AnyBlock) -> memoryview:
    """The bytes of a block."""
    return memoryview(map_range(block.fileno(), block.offset, block.length, shared=True))


def same_bytes(one: memoryview, other: memoryview) -> bool:
    """Whether two buffers of bytes are equal."""
    if len(one) != len(other):
        return False
    whole = len(one) // 8 * 8
    if one[whole:] != other[whole:]:
        return False
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or whole < _PIECE:
        # By words, since memoryview compares item by item.
        return one[:whole].cast("Q") == other[:whole].cast("Q")
    # Three times as fast (3 GB/s), in pieces that the cache holds.
    ours, theirs = (numpy.frombuffer(each[:whole], "u8") for each in (one, other))
    step = _PIECE // 8
    return all((ours[at : at + step] == theirs[at : at + step]).all() for at in range(0, len(ours), step))


class DescribedBlock(NamedTuple):
    """A block as a description names it."""

    lease: int  #: or ``OWN_FILE``, ``NEVER_REPORTED``
    offset: int  #: of ``OWN_FILE``: which of the descriptors that came with it
    length: int


def described_blocks(frame: bytes | memoryview) -> list[DescribedBlock]:
    """The blocks of a description; none if the frame is a pickle."""
    if frame[0] != MARK:
        return []
    _mark, _exclusive, blocks, *_ = HEAD.unpack_from(frame)
    words = struct.unpack_from(f"<{3 * blocks}q", frame, HEAD.size)
    return [DescribedBlock(*words[at : at + 3]) for at in range(0, len(words), 3)]
