"""A pickle in pieces: its stream, the buffers that stand beside it, and the shared memory that it refers to.

Plain data.  The pieces refer to the memory of the pickled objects themselves, so they have to be copied
or sent before the caller goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from procession.wire.channel import Buffer
    from procession.wire.segments import Segment

#: Buffers from this size on travel beside the pickle, in shared memory.  Measured with a sum over the
#: array in the worker: at 64 KiB a mapping and its page faults cost as much as the copies that they
#: spare (30 us against 23 us), at 256 KiB less than half.
BUFFER_THRESHOLD = 128 * 1024

#: In a pickle of many items, the buffers of all stand in one block, and each costs only its place in a
#: table: about what copying 8 KiB three times does.
BATCH_THRESHOLD = 16 * 1024

#: What fits into a message with others.
SMALL = 32 * 1024

#: Descriptors that one message carries for segments, below what the kernel passes (SCM_MAX_FD).
SEGMENTS_LIMIT = 200


class Pickled(NamedTuple):
    """What an encoder makes of an object."""

    stream: list[Buffer]  #: the pickle, in pieces
    buffers: list[memoryview]  #: in the order in which the pickle asks for them
    segments: Sequence[Segment]  #: shared memory that it names
    needs: frozenset[str]  #: names of ``__main__`` that the receiver must have
    has_arrays: bool = False  #: or bytearrays, large or small: what a task may want to write into

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.stream)) + sum(map(len, self.buffers))

    @property
    def is_plain(self) -> bool:
        """Whether the stream is all there is."""
        return not self.buffers and not self.segments

    @property
    def small(self) -> bytes | None:
        """The pickle, if it is short and all there is: nearly always."""
        stream = self.stream
        if len(stream) == 1 and not self.buffers and not self.segments and len(stream[0]) <= SMALL:
            return stream[0]  # type: ignore[return-value]
        return None

    def join(self) -> bytes:
        """The stream in one piece."""
        stream = self.stream
        return stream[0] if len(stream) == 1 and type(stream[0]) is bytes else b"".join(stream)


class _Collecting(threading.local):
    """The segments that are being collected in this thread, if they are."""

    segments: list[Segment] | None = None


_collecting = _Collecting()


def start_collecting(segments: list[Segment]) -> list[Segment] | None:
    """What is pickled in this thread from now on may name segments, which are added to the list.

    Returns what ``stop_collecting`` wants.
    """
    before, _collecting.segments = _collecting.segments, segments
    return before


def stop_collecting(before: list[Segment] | None) -> None:
    """End what ``start_collecting`` began."""
    _collecting.segments = before


def attach(segment: Segment) -> bool:
    """Have a segment travel with the pickle that is being made; return False when it cannot."""
    segments = _collecting.segments
    if segments is None:
        return False
    if segment not in segments:
        if len(segments) >= SEGMENTS_LIMIT:
            return False
        segments.append(segment)
    return True
