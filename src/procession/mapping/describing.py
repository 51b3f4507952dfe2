"""Short texts of items, for errors and for people: whatever the item is, and without running its code.

An item may be what has just killed a worker, so of a pickle only plain data is read.
"""

from __future__ import annotations

from typing import Any

from procession.engine.work import Chunk
from procession.mapping.waiting import Plain
from procession.wire.messages import Style
from procession.wire.parcel import Frame, Parcel
from procession.wire.serial import loads

_TEXT_LIMIT = 80


def shorten(value: Any) -> str:
    """A short text of an item, whatever its ``__repr__`` does."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 3] + "..."


def describe_item(chunk: Chunk, index: int, style: Style) -> str:
    """A short text of an item of a chunk with frames; they are gone when all of it is done."""
    if not chunk.frames:
        return "an item that is done"
    frame = chunk.frames[index]
    return shorten(frame) if isinstance(chunk.frames, Plain) else describe_frame(frame, style)


def describe_frame(frame: Frame, style: Style) -> str:
    """A short text of a pickled item, unless reading it would run code.

    It may be what has just killed a worker, so only plain data is read here.
    """
    if isinstance(frame, Parcel):
        return f"an item of {frame.nbytes:,} bytes"
    if not is_plain(frame):
        return f"an item of {len(frame)} pickled bytes"
    item = loads(frame)
    if style is not Style.CALL:
        return shorten(item)
    args, kwargs = item
    words = [shorten(arg) for arg in args]
    words += [f"{key}={shorten(value)}" for key, value in kwargs.items()]
    text = ", ".join(words)
    return text if len(text) <= 2 * _TEXT_LIMIT else text[: 2 * _TEXT_LIMIT] + "..."


def is_plain(pickled: bytes) -> bool:
    """Whether a pickle is of numbers, texts and containers alone: it names nothing to be called."""
    import pickletools

    names = {code.name for code, _argument, _position in pickletools.genops(pickled)}
    return not names & _CALLING


_CALLING = {
    "GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD",
    "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID",
}  # fmt: skip
