"""Calling: how the items of a chunk are read, and what is called with each.

Owns nothing.  Items with a pickle each stay pickled until their turn, so what fails or dies of that is one item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from procession.wire.messages import Encoding, Run, Style, split_frames, unpack_range

#: Unpickles an item.
Read = Callable[[Any], Any]


def read_items(head: Run, body: memoryview, read: Read) -> Iterable[Any]:
    """Read the items of a chunk; items with a pickle each stay pickled until their turn.

    On failure: what unpickling raises, for a chunk that is one pickle.
    """
    if head.encoding is Encoding.RANGE:
        return unpack_range(body)
    if head.encoding is Encoding.BATCH:
        items: list[Any] = read(body)
        return items
    return split_frames(body, head.count)


def caller(function: Callable[..., Any], style: Style, encoding: Encoding, read: Read) -> Callable[[Any], Any]:
    """What to call with an item as ``read_items`` gives it."""
    if encoding is not Encoding.FRAMES and encoding is not Encoding.PARCELS:
        return _plain_caller(function, style)
    if style is Style.MAP:
        return lambda frame: function(read(frame))
    if style is Style.STAR:
        return lambda frame: function(*read(frame))

    def call(frame: Any) -> Any:
        args, kwargs = read(frame)
        return function(*args, **kwargs)

    return call


def _plain_caller(function: Callable[..., Any], style: Style) -> Callable[[Any], Any]:
    if style is Style.MAP:
        return function
    if style is Style.STAR:
        return lambda item: function(*item)
    return lambda item: function(*item[0], **item[1])
