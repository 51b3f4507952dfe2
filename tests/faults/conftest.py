"""Pools that are put away at the end of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import procession


@pytest.fixture
def make_pool(no_leaks: None) -> Iterator[Callable[..., Any]]:
    """Give a function that makes pools; they are terminated and joined at the end."""
    pools: list[Any] = []

    def make(processes: int = 2, *args: Any, **options: Any) -> Any:
        pools.append(procession.Pool(processes, *args, **options))
        return pools[-1]

    yield make
    while pools:
        pool = pools.pop()
        pool.terminate()
        pool.join()


@pytest.fixture
def pool(make_pool: Callable[..., Any]) -> Any:
    """Give a pool of two workers."""
    return make_pool()
