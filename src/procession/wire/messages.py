"""The messages between an engine and its workers, as bytes.

The first byte is the kind.  Everything here packs or unpacks; nothing is kept, and no user code
runs: bodies stay pickled.  Little-endian, and never stored, so there is no version to negotiate.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from procession.wire.views import Views

# From the engine to a worker.
DEFINE = ord("D")  # a function: its id, then the pickled (sys.path or None, function)
MAIN = ord("M")  # names of __main__: a pickled list of (name, pickled value)
RUN = ord("R")  # a chunk of items
FORGET = ord("F")  # ids of functions that will not be used again
REPORTING = ord("S")  # flags of what to forward; levels of loggers and filters of warnings
EXIT = ord("X")  # end in an orderly way

# Both ways.
ARENA = ord("A")  # comes with the descriptor of the sender's arena

# From a worker to the engine.
READY = ord("Y")  # the initializer is done
FAILED = ord("I")  # the initializer raised: a pickled error
PART = ord("P")  # outcomes of consecutive items of a chunk
REFUSED = ord("E")  # a chunk of which nothing ran: its number, whether it was the function, a pickled error
OUTPUT = ord("O")  # text for the parent's stdout or stderr
NOTICE = ord("N")  # what was logged or warned of, pickled
PROGRESS = ord("G")  # how far the running item is, as it tells itself


class Style(IntEnum):
    """How an item becomes a call."""

    MAP = 0  #: ``function(item)``
    STAR = 1  #: ``function(*item)``
    CALL = 2  #: ``function(*item[0], **item[1])``


class Encoding(IntEnum):
    """How the items of a chunk are written."""

    RANGE = 0  #: start, stop and step of a range
    BATCH = 1  #: one pickle of a list: objects shared by items are pickled once
    FRAMES = 2  #: one pickle an item, after the table of their ends
    PARCELS = 3  #: the same, but some are descriptions of parcels


class Forwarding(IntEnum):
    """Where a stream of a worker leads."""

    NOT = 0  #: to the descriptor that it has inherited
    TEXT = 1  #: to the parent, whose own stream is not the process's real one
    TERMINAL = 2  #: to the parent, which writes it to the terminal that is the real stream of both


class Mode(IntEnum):
    """How the outcomes of a part are written."""

    FRAMES = 0  #: one pickle each; the table of their ends is negative for an error
    INTS = 1  #: a column of int64
    FLOATS = 2  #: a column of float64
    NONES = 3  #: nothing: every value is None


_RUN = struct.Struct("<BBBB?xxxIxxxxQQQ")
_DEFINE = struct.Struct("<BxxxxxxxQ")
_PART = struct.Struct("<BBBBIQQd")
_REFUSED = struct.Struct("<B?xxxxxxQ")
_PROGRESS = struct.Struct("<BxxxxxxxQQdd")
_RANGE = struct.Struct("<qqq")

PART_SIZE = _PART.size

#: Bytes in front of the settings of REPORTING: for stdout and stderr a ``Forwarding`` each, and whether progress
#: is wanted.
FLAGS = 3


class Run(NamedTuple):
    """The head of a RUN message."""

    style: Style
    encoding: Encoding
    timed: bool
    stoppable: bool  #: an item may be stopped while it runs, so its beginning is noted
    count: int  # type: ignore[assignment]  # hides tuple.count
    seq: int
    function_id: int
    start: int = 0  #: the position of the first item in its run


class Part(NamedTuple):
    """The head of a PART message and its body."""

    mode: Mode
    final: bool
    timed: bool
    count: int  # type: ignore[assignment]  # hides tuple.count
    seq: int
    first: int
    seconds: float  #: since the chunk began
    body: memoryview
    views: Views | None = None  #: what reads descriptions of parcels in it
    fds: Sequence[int] = ()  #: that came with it, for whoever reads it to close


def pack_run(run: Run) -> bytes:
    """Pack the head of a RUN message; the items' bytes follow it."""
    return _RUN.pack(RUN, *run)


def unpack_run(data: memoryview) -> tuple[Run, memoryview]:
    """Split a RUN message into its head and the items' bytes."""
    _kind, style, encoding, timed, stoppable, count, *more = _RUN.unpack_from(data)
    head = Run(Style(style), Encoding(encoding), bool(timed), stoppable, count, *more)
    return head, data[_RUN.size :]


def run_seq(data: memoryview) -> int:
    """The chunk that a RUN message carries."""
    seq: int = _RUN.unpack_from(data)[6]
    return seq


def pack_define(function_id: int) -> bytes:
    """Pack the head of a DEFINE message; the pickled definition follows it."""
    return _DEFINE.pack(DEFINE, function_id)


def unpack_define(data: memoryview) -> tuple[int, memoryview]:
    """Split a DEFINE message into the function's id and the pickled definition."""
    return _DEFINE.unpack_from(data)[1], data[_DEFINE.size :]


def pack_part(mode: Mode, final: bool, timed: bool, count: int, seq: int, first: int, seconds: float) -> bytes:
    """Pack the head of a PART message; the outcomes' bytes follow it."""
    return _PART.pack(PART, mode, final, timed, count, seq, first, seconds)


def unpack_part(data: memoryview, views: Views | None = None, fds: Sequence[int] = ()) -> Part:
    """Read a PART message, which came with ``fds``; ``views`` reads its parcels."""
    _kind, mode, final, timed, count, seq, first, seconds = _PART.unpack_from(data)
    return Part(Mode(mode), bool(final), bool(timed), count, seq, first, seconds, data[_PART.size :], views, fds)


def pack_refused(seq: int, in_function: bool) -> bytes:
    """Pack the head of a REFUSED message; the pickled error follows it."""
    return _REFUSED.pack(REFUSED, in_function, seq)


def unpack_refused(data: memoryview) -> tuple[int, bool, bytes]:
    """Split a REFUSED message into the chunk's number, whether its function is at fault, and the error."""
    _kind, in_function, seq = _REFUSED.unpack_from(data)
    return seq, in_function, bytes(data[_REFUSED.size :])


def pack_progress(seq: int, index: int, n: float, total: float | None, message: str) -> bytes:
    """Pack a PROGRESS message: of an item of a chunk, ``n`` of ``total`` units are done."""
    return _PROGRESS.pack(PROGRESS, seq, index, n, math.nan if total is None else total) + message.encode(
        "utf-8", "replace"
    )


def unpack_progress(data: memoryview) -> tuple[int, int, float, float | None, str]:
    """Read what ``pack_progress`` wrote."""
    _kind, seq, index, n, total = _PROGRESS.unpack_from(data)
    return seq, index, n, None if math.isnan(total) else total, str(data[_PROGRESS.size :], "utf-8")


def pack_range(items: range) -> bytes:
    """Write a range of items whose bounds fit 64 bits."""
    return _RANGE.pack(items.start, items.stop, items.step)


def unpack_range(body: memoryview) -> range:
    """Read a range of items."""
    return range(*_RANGE.unpack(body))


def pack_frames(frames: Sequence[Any]) -> list[Any]:
    """Write frames one after another behind the table of their ends; a parcel stands for its description."""
    ends, end = [], 0
    for frame in frames:
        end += len(frame)
        ends.append(end)
    return [struct.pack(f"<{len(ends)}q", *ends), *frames]


def split_frames(body: memoryview, count: int) -> list[memoryview]:
    """Read what ``pack_frames`` wrote."""
    table = count * 8
    start, frames = table, []
    for end in struct.unpack_from(f"<{count}q", body):
        frames.append(body[start : table + end])
        start = table + end
    return frames
