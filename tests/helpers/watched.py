"""Maps and iterators whose progress is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def watched_map(pool: Any, function: Callable[[Any], Any], items: Any, **options: Any) -> list[Any]:
    """Run a map with a meter; errors stand in their items' places."""
    found: list[Any] = pool.map(function, items, on_error="return", **options)
    return found


def watched_imap(pool: Any, function: Callable[[Any], Any], items: Any, **options: Any) -> Iterator[Any]:
    """Iterate over the values of a stream with a meter."""
    found: Iterator[Any] = pool.imap(function, items, **options)
    return found
