"""Reading the outcomes that a worker has written.

Runs the user's unpickling code, so never under a lock.  An outcome that cannot be read is an error of
its item alone.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from procession.system import close_all
from procession.wire.faults import reraise_interrupt, unpack_error
from procession.wire.messages import Mode, Part
from procession.wire.parcel import MARK, described_blocks
from procession.wire.serial import loads

_NO_SIZES: dict[int, int] = {}
_NO_TRIES: dict[int, list[Any]] = {}


class Outcomes(NamedTuple):
    """The outcomes of consecutive items: a value each, or an error at its offset."""

    values: list[Any]
    errors: dict[int, BaseException]
    seconds: list[float] | None = None
    sizes: dict[int, int] = _NO_SIZES  #: bytes of shared memory, of those that have some
    tries: dict[int, list[Any]] = _NO_TRIES  #: the failed attempts before, of those that were tried again
    replayed: bool = False  #: a journal had them


def read_outcomes(part: Part, skip: int = 0) -> Outcomes:
    """Read the outcomes of a part from the one at ``skip`` on, and close the descriptors that came with it.

    Those before have been read: what they had lent may be lent anew by now.
    """
    body = part.body
    seconds: list[float] | None = None
    if part.timed:
        seconds = body[8 * skip : 8 * part.count].cast("d").tolist()  # type: ignore[assignment]
        body = body[8 * part.count :]
    if part.mode is Mode.INTS:
        return Outcomes(body[8 * skip :].cast("q").tolist(), {}, seconds)
    if part.mode is Mode.FLOATS:
        return Outcomes(body[8 * skip :].cast("d").tolist(), {}, seconds)
    if part.mode is Mode.NONES:
        return Outcomes([None] * (part.count - skip), {}, seconds)
    try:
        return _read_frames(body, part, skip, seconds)
    finally:
        close_all(part.fds)


def _read_frames(body: memoryview, part: Part, skip: int, seconds: list[float] | None) -> Outcomes:
    values: list[Any] = []
    errors: dict[int, BaseException] = {}
    sizes: dict[int, int] = {}
    views, count = part.views, part.count

    def read(frame: Any) -> Any:
        return loads(frame) if views is None else views.read(frame, part.fds)

    table = 8 * count
    ends = struct.unpack_from(f"<{count}q", body)
    start = table + (abs(ends[skip - 1]) if skip else 0)
    for end in ends[skip:]:
        stop = table + abs(end)
        frame = body[start:stop]
        start = stop
        if end < 0:
            errors[len(values)] = unpack_error(frame, read)
            values.append(None)
            continue
        try:
            if frame[0] == MARK:
                sizes[len(values)] = sum(block.length for block in described_blocks(frame))
                values.append(read(frame))
            else:
                values.append(loads(frame))
        except BaseException as error:  # whatever the value's own __setstate__ raises
            reraise_interrupt(error)
            errors[len(values)] = _unreadable(error)
            values.append(None)
    return Outcomes(values, errors, seconds, sizes or _NO_SIZES)


def _unreadable(error: BaseException) -> BaseException:
    from procession.errors import NotSendable

    failure = NotSendable(f"{type(error).__name__}: {error}", "(pickled, but not to be unpickled)")
    failure.__cause__ = error
    return failure
