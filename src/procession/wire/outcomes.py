"""Reading the outcomes that a worker has written.

Runs the user's unpickling code, so never under a lock.  An outcome that cannot be read is an error of
its item alone.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from procession.wire.faults import reraise_interrupt, unpack_error
from procession.wire.messages import Mode, Part
from procession.wire.serial import loads


class Outcomes(NamedTuple):
    """The outcomes of consecutive items: a value each, or an error at its offset."""

    values: list[Any]
    errors: dict[int, BaseException]
    seconds: list[float] | None = None


def read_outcomes(part: Part) -> Outcomes:
    """Read all outcomes of a part."""
    body = part.body
    seconds: list[float] | None = None
    if part.timed:
        seconds = body[: 8 * part.count].cast("d").tolist()  # type: ignore[assignment]
        body = body[8 * part.count :]
    if part.mode is Mode.INTS:
        return Outcomes(body.cast("q").tolist(), {}, seconds)
    if part.mode is Mode.FLOATS:
        return Outcomes(body.cast("d").tolist(), {}, seconds)
    if part.mode is Mode.NONES:
        return Outcomes([None] * part.count, {}, seconds)
    return _read_frames(body, part.count, seconds)


def _read_frames(body: memoryview, count: int, seconds: list[float] | None) -> Outcomes:
    values: list[Any] = []
    errors: dict[int, BaseException] = {}
    start = table = 8 * count
    for end in struct.unpack_from(f"<{count}q", body):
        stop = table + abs(end)
        frame = body[start:stop]
        start = stop
        if end < 0:
            errors[len(values)] = unpack_error(frame)
            values.append(None)
            continue
        try:
            values.append(loads(frame))
        except BaseException as error:  # whatever the value's own __setstate__ raises
            reraise_interrupt(error)
            errors[len(values)] = _unreadable(error)
            values.append(None)
    return Outcomes(values, errors, seconds)


def _unreadable(error: BaseException) -> BaseException:
    from procession.errors import NotSendable

    failure = NotSendable(f"{type(error).__name__}: {error}", "(pickled, but not to be unpickled)")
    failure.__cause__ = error
    return failure
