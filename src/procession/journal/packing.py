"""Packing: values and errors as a journal keeps them.

Values are pickles: reading one can run anything, which is why a journal belongs to its owner alone.  Shared memory ends
with those who have it, so of a shared array its content is kept, and what is read is a new one.
"""

from __future__ import annotations

import pickle
import sys
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

from procession.wire.faults import format_error, pack_error, reraise_interrupt, unpack_error
from procession.wire.pickled import start_collecting, stop_collecting

if TYPE_CHECKING:
    from procession.wire.segments import Segment

_PROTOCOL = 5

#: Values are compressed from this size on, at the fastest level, if a sample of them shows that it is worth it.
_COMPRESSED_FROM = 2048
_SAMPLE = 1 << 16
_WORTH = 0.8


class _ByName:
    """Pickles an error with its class by name: it is to be the class that the next run knows."""

    @staticmethod
    def dumps(error: object) -> bytes:
        return pickle.dumps(error, _PROTOCOL)


def pack_value(value: Any) -> tuple[bytes, bool] | None:
    """A value as bytes, and whether they are compressed; None if it cannot be pickled."""
    try:
        data = _dump_with_content(value) if "procession.sharing" in sys.modules else dump(value, _PROTOCOL)
    except BaseException as error:  # whatever a foreign __reduce__ raises
        reraise_interrupt(error)
        return None
    return _compress(data)


def dump(value: Any, protocol: int) -> bytes:
    """The pickle, by value where it takes that.  On failure: whatever pickling raises."""
    try:
        return pickle.dumps(value, protocol)
    except Exception:
        import cloudpickle

        return cloudpickle.dumps(value, protocol)  # type: ignore[no-any-return]


def _dump_with_content(value: Any) -> bytes:
    """The same, but what is in shared memory is pickled as a call that makes it anew."""
    segments: list[Segment] = []
    before = start_collecting(segments)
    try:
        data = dump(value, _PROTOCOL)
    finally:
        stop_collecting(before)
    if not segments:
        return data
    import cloudpickle

    class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            by_content = getattr(type(obj), "reduce_by_content", None)  # of what is in shared memory
            return super().reducer_override(obj) if by_content is None else by_content(obj)

    file = BytesIO()
    _Pickler(file, _PROTOCOL).dump(value)
    return file.getvalue()


def unpack_value(data: bytes, *, compressed: bool) -> Any:
    """The value.  On failure: whatever unpickling raises."""
    return pickle.loads(zlib.decompress(data) if compressed else data)


def pack_failure(error: BaseException) -> tuple[bytes, bool]:
    """An error as bytes, with its traceback, and whether they are compressed."""
    return _compress(pack_error(error, _ByName))  # type: ignore[arg-type]  # it has all that is used


def unpack_failure(data: bytes, *, compressed: bool) -> BaseException:
    """The error, with its traceback as the cause."""
    return unpack_error(zlib.decompress(data) if compressed else data)


def traceback_of(error: BaseException) -> str:
    """The text of where an error was raised: in its worker, if it comes from one."""
    cause = error.__cause__
    remote = getattr(cause, "tb", None)
    return remote if isinstance(remote, str) else format_error(error)


def _compress(data: bytes) -> tuple[bytes, bool]:
    size = len(data)
    if size < _COMPRESSED_FROM:
        return data, False
    if size > 2 * _SAMPLE:
        middle = size // 2
        sample = data[middle : middle + _SAMPLE]
        if len(zlib.compress(sample, 1)) > _WORTH * len(sample):
            return data, False
    packed = zlib.compress(data, 1)
    return (packed, True) if len(packed) < _WORTH * size else (data, False)
