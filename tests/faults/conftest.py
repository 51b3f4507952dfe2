"""Pools that are put away at the end of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers.pools import put_away

import procession


@pytest.fixture
def make_pool(no_leaks: None) -> Iterator[Callable[..., Any]]:
    """Give a function that makes pools; they are terminated and joined at the end."""

    def make(processes: int = 2, *args: Any, **options: Any) -> Any:
        return procession.Pool(processes, *args, **options)

    with put_away(make) as kept:
        yield kept


@pytest.fixture
def pool(make_pool: Callable[..., Any]) -> Any:
    """Give a pool of two workers."""
    return make_pool()
