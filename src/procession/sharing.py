"""Memory that processes share on purpose: what one writes, all see.

``share`` and ``shared_array`` are faces; what is shared is a segment (``wire/segments.py``), and what
travels is a handle: which segment, where in it, which shape.  It is gone when nobody has it any more.
"""

from __future__ import annotations

import math
import operator
from functools import cached_property
from typing import Any

import numpy as np

from procession.wire.parcel import ALIGNMENT
from procession.wire.segments import Segment, create
from procession.wire.serial import Encoder, loads

__all__ = ["Shared", "SharedArray", "share", "shared_array"]


class SharedArray(np.ndarray):  # type: ignore[misc]
    """A ``numpy.ndarray`` in shared memory; its slices, transposes and reshapes are in it, too.

    Pickled, each of them is a handle on the same memory, not a copy.  What is computed from it is an
    ordinary array.  Made by ``shared_array`` and ``share``.
    """

    _segment: Segment | None = None

    def __array_finalize__(self, source: Any) -> None:
        self._segment = getattr(source, "_segment", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What numpy makes of this array: a view of it is shared, too, and a result is an ordinary array."""
        if array is self:  # an operation in place
            return self
        if return_scalar:
            return array[()]
        return array.view(SharedArray)._of(self._segment) if _is_in(array, self._segment) else np.asarray(array)

    def _of(self, segment: Segment | None) -> SharedArray:
        self._segment = segment
        return self

    def __reduce__(self) -> Any:
        start = self._offset()
        if start is None:
            return np.asarray(self).__reduce__()
        return _view_of, (self._segment, start, self.shape, self.strides, self.dtype, self.flags.writeable)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol) if self._offset() is None else self.__reduce__()

    def reduce_by_content(self) -> Any:
        """How to make another one with the same content, for what is kept longer than its memory."""
        return share, (np.array(self),)

    def _offset(self) -> int | None:
        """Where in the segment its first element is; None for memory of its own (a copy of a shared one)."""
        segment = self._segment
        if segment is None or not _is_in(self, segment):
            return None
        start: int = self.__array_interface__["data"][0] - segment.address
        return start


def _is_in(array: Any, segment: Segment | None) -> bool:
    """Whether the memory of an array is a segment's."""
    return segment is not None and 0 <= array.__array_interface__["data"][0] - segment.address <= segment.size


def shared_array(shape: Any, dtype: Any = float) -> SharedArray:
    """Make an array of zeros in shared memory.

    Pass it, or any view of it, to as many processes as you like, in any way: all see the same memory.  Use
    a ``Lock`` where two may write the same element.  On failure: ``MemoryError``; ``TypeError`` for a
    ``dtype`` that holds Python objects.
    """
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"an array of {kind} holds Python objects, which processes cannot share")
    extents = tuple(map(operator.index, shape if np.iterable(shape) else (shape,)))
    if any(each < 0 for each in extents):
        raise ValueError(f"negative dimensions are not allowed: {shape!r}")
    return _view_of(create(math.prod(extents) * kind.itemsize), 0, extents, None, kind, True)


def share(obj: Any) -> Any:
    """Copy an object into shared memory, once.

    For an array: the ``SharedArray`` that is its copy.  For anything else that pickle can take apart, such as
    a DataFrame: a ``Shared`` handle, whose ``value`` every process builds on the same memory.  On
    failure: ``MemoryError``; what pickling raises.
    """
    if isinstance(obj, np.ndarray):
        shared = shared_array(obj.shape, obj.dtype)
        shared[...] = obj
        return shared
    # By value, with what it needs of ``__main__``: a handle may be read long after it was sent.
    pickled = Encoder(set()).encode_apart(obj)
    spans: list[tuple[Any, int]] = []
    end = 0
    for piece in (pickled.join(), *pickled.buffers):
        spans.append((piece, end))
        end += -(-len(piece) // ALIGNMENT) * ALIGNMENT
    segment = create(end)
    for piece, start in spans:
        segment.view[start : start + len(piece)] = piece
    return Shared(segment, [(start, len(piece)) for piece, start in spans], tuple(pickled.segments))


class Shared:
    """A handle on an object in shared memory; pickled, it stays a handle.  Made by ``share``."""

    def __init__(self, segment: Segment, spans: list[tuple[int, int]], attached: tuple[Segment, ...]) -> None:
        self._segment = segment
        self._spans = spans  # of the pickle, and of its buffers
        self._attached = attached  # segments that the pickle itself names

    @cached_property
    def value(self) -> Any:
        """The object, whose arrays are the shared memory itself: writing into them is seen by all."""
        stream, *buffers = (self._segment.view[start : start + length] for start, length in self._spans)
        return loads(stream, buffers=buffers)

    def __reduce__(self) -> Any:
        return Shared, (self._segment, self._spans, self._attached)

    def reduce_by_content(self) -> Any:
        """How to make another one with the same content, for what is kept longer than its memory."""
        return share, (self.value,)

    def __repr__(self) -> str:
        return f"<procession.Shared of {self._segment.size:,} bytes>"


def _view_of(
    segment: Segment,
    start: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
    dtype: Any,
    writeable: bool,
) -> SharedArray:
    array = SharedArray(shape, dtype, segment.mapped, start, strides)
    array._segment = segment
    array.flags.writeable = writeable
    return array
