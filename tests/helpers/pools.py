"""Pools that are put away at the end of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def put_away(make: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Give `make`, a function that makes pools; at the end those that it has made are terminated and joined."""
    pools: list[Any] = []

    def make_and_note(*args: Any, **options: Any) -> Any:
        pools.append(make(*args, **options))
        return pools[-1]

    yield make_and_note
    while pools:
        pool = pools.pop()
        pool.terminate()
        pool.join()
