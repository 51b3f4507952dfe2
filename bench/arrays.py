"""Tasks on arrays, and the arrays they are given: what a scenario of big data imports only when it is measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

SEED = 21


def ramps(megabytes: int) -> Iterator[Any]:
    """New float64 arrays of so many millions of bytes, none like another: each begins at its number, in steps of 1."""
    for first in itertools.count():
        yield np.arange(first, first + megabytes * 1_000_000 // 8, dtype=np.float64)


def noise(rows: int, columns: int) -> Any:
    """Random float64 values, the same for every subject, round and machine."""
    return np.random.default_rng(SEED).random((rows, columns))


def total(array: Any) -> float:
    """The sum."""
    return float(array.sum())


def ones(megabytes: int) -> Any:
    """A new float64 array of ones, of so many millions of bytes."""
    return np.ones(megabytes * 1_000_000 // 8)


def double(array: Any) -> Any:
    """The array itself, each value doubled in place."""
    array *= 2
    return array


def doubled(data: Any) -> Any:
    """A new array or frame of the doubled values."""
    return data * 2


def sorted_block(array: Any, rows: int, number: int) -> Any:
    """Block `number` of so many rows, as a new array with each row sorted."""
    return np.sort(array[number * rows : (number + 1) * rows], axis=1)


def write_row(task: tuple[Any, float]) -> None:
    """Set every value of a row, which is memory of others too."""
    row, value = task
    row[:] = value
