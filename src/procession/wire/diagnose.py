"""Finding the part of an object that cannot be pickled, for the error that names it.

Runs only after a pickle has failed; owns nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procession.wire.serial import Encoder

_DEPTH = 12
_WIDTH = 10_000


def find_culprit(obj: object, name: str, dumps: Callable[[Any], object]) -> tuple[str, object]:
    """Return the path (``args[0].handlers[2].lock``) and value of the innermost part at fault.

    ``dumps`` pickles one object or raises.
    """
    for _ in range(_DEPTH):
        for suffix, part in _parts(obj):
            if not _works(dumps, part):
                name, obj = name + suffix, part
                break
        else:
            break
    return name, obj


def not_sendable(value: Any, failure: BaseException, encoder: Encoder) -> BaseException:
    """The error for a value that cannot be pickled, naming the part at fault; without memory to look for it, less."""
    try:
        return _blame(value, failure, encoder)
    except MemoryError:
        return failure


def _blame(value: Any, failure: BaseException, encoder: Encoder) -> BaseException:
    from procession.errors import NotSendable

    path, culprit = find_culprit(value, "result", encoder.encode)
    try:
        text = repr(culprit)[:200]
    except BaseException:  # __repr__ is the user's
        text = f"an instance of {type(culprit).__name__}"
    return NotSendable(f"{type(failure).__name__}: {failure}", f"{path} = {text}")


def _works(dumps: Callable[[Any], object], obj: object) -> bool:
    try:
        dumps(obj)
    except BaseException:  # a foreign __reduce__ may raise SystemExit as well
        return False
    return True


def _parts(obj: object) -> Iterator[tuple[str, object]]:
    """The parts of ``obj`` a person would recognise, with how one writes them."""
    if isinstance(obj, (str, bytes, type)):
        return
    if isinstance(obj, Mapping):
        for key, value in list(obj.items())[:_WIDTH]:
            yield f"[{_short(key)}]", value
    elif isinstance(obj, (list, tuple)):
        for index, value in enumerate(obj[:_WIDTH]):
            yield f"[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield "{...}", value
    owner = getattr(obj, "__self__", None)
    if owner is not None:
        yield ".__self__", owner
    closure = getattr(obj, "__closure__", None)
    if closure is not None:
        for free, cell in zip(obj.__code__.co_freevars, closure, strict=False):  # type: ignore[attr-defined]
            try:
                yield f".<closure {free}>", cell.cell_contents
            except ValueError:  # not assigned yet
                continue
    for attribute, value in list(getattr(obj, "__dict__", {}).items()):
        yield f".{attribute}", value


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        return "?"
    return text if len(text) <= 40 else text[:37] + "..."
