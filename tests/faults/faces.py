"""The ways of running a function on items so that every item has its value or its error: one a face."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

DEADLINE = 60


@dataclass(frozen=True)
class Face:
    """A way of running; `run(pool, function, items)` returns values, and errors in their items' places."""

    name: str
    run: Callable[[Any, Callable[[Any], Any], Iterable[Any]], list[Any]]
    positions: bool = True  #: its errors know their item's position
    chunked: bool = False  #: several items are pickled as one


def _submit(pool: Any, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    tasks = [pool.submit(function, item) for item in items]
    return [task.exception(DEADLINE) or task.result(DEADLINE) for task in tasks]


def _map(chunksize: int | None) -> Callable[..., list[Any]]:
    return lambda pool, function, items: pool.map(function, items, chunksize, on_error="return")


def _map_async(pool: Any, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    found: list[Any] = pool.map_async(function, items, 5, on_error="return").get(DEADLINE)
    return found


def _imap(chunksize: int) -> Callable[..., list[Any]]:
    return lambda pool, function, items: list(pool.imap(function, items, chunksize, on_error="return"))


FACES = (
    Face("map", _map(None), chunked=True),
    Face("map-1", _map(1)),
    Face("map-5", _map(5), chunked=True),
    Face("map_async-5", _map_async),
    Face("imap-1", _imap(1)),
    Face("imap-5", _imap(5)),
    Face("submit", _submit, positions=False),
)
