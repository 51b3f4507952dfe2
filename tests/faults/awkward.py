"""Objects that raise when pickled or unpickled, whatever they are asked to raise.  Importable by workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from tests.helpers.gates import Notes

RAISED: tuple[type[BaseException], ...] = (
    ValueError,
    TypeError,
    AttributeError,
    MemoryError,
    RecursionError,
    StopIteration,
    GeneratorExit,
    SystemExit,
    KeyboardInterrupt,
)


class RaisesWhenPickled:
    """Cannot be pickled, except in the process `spare`."""

    def __init__(self, kind: type[BaseException], spare: int = 0) -> None:
        self.kind = kind
        self.spare = spare

    def __reduce__(self) -> Any:
        if os.getpid() != self.spare:
            raise self.kind("on pickling")
        return RaisesWhenPickled, (self.kind, self.spare)


class InterruptedWhenPickled:
    """Its pickling meets a Ctrl-C, which comes without arguments."""

    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class RaisesWhenUnpickled:
    """Cannot be unpickled, except in the process `spare`."""

    def __init__(self, kind: type[BaseException], spare: int = 0) -> None:
        self.kind = kind
        self.spare = spare

    def __reduce__(self) -> Any:
        return _unpickle, (self.kind, self.spare)


def _unpickle(kind: type[BaseException], spare: int) -> RaisesWhenUnpickled:
    if os.getpid() != spare:
        raise kind("on unpickling")
    return RaisesWhenUnpickled(kind, spare)


class Holder:
    """Holds something, so that what is wrong lies deeper."""

    def __init__(self, content: Any) -> None:
        self.content = content


def nested(thing: Any) -> Any:
    """Return the thing, some levels down."""
    return Holder([0, {"key": thing}])


def number_of(notes: Notes, item: Any) -> Any:
    """Note and return the item if it is a number, else None."""
    notes.write(item if isinstance(item, int) else "odd")
    return item if isinstance(item, int) else None


def result_of(notes: Notes, makers: dict[int, Any], number: int) -> Any:
    """Note the number; return it, or what its maker, a class with its arguments, makes."""
    notes.write(number)
    if number not in makers:
        return number
    make, *args = makers[number]
    made = make(*args)
    return nested(made) if number % 2 else made


def raise_for(notes: Notes, errors: dict[int, Any], number: int) -> int:
    """Note the number; return it, or raise what is made for it."""
    notes.write(number)
    if number in errors:
        kind, args, keywords = errors[number]
        raise kind(*args, **keywords)
    return number


def generate(number: int) -> Iterator[int]:
    """Yield, where a plain function was meant."""
    yield number
