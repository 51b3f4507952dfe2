"""Single objects of more than 4 GiB, both ways.  Slow, and 20 GB of memory are needed: `make large`."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

import procession

SIZE = (4 << 30) + (100 << 20)

pytestmark = [
    pytest.mark.large,
    pytest.mark.timeout(600),
    pytest.mark.skipif(psutil.virtual_memory().available < 5 * SIZE, reason="needs 20 GB of free memory"),
]


def _facts(array: np.ndarray) -> tuple[int, int, int]:  # type: ignore[type-arg]
    return array.nbytes, int(array[0]), int(array[-1])


def _zeros(size: int) -> np.ndarray:  # type: ignore[type-arg]
    array = np.zeros(size, np.uint8)
    array[-1] = 9
    return array


def _ends(data: bytes) -> tuple[int, int]:
    return len(data), data[-1]


def test_an_array_of_more_than_4_gib_travels_both_ways() -> None:
    """Its last byte arrives; given to two tasks it is stored once."""
    with procession.Pool(1, block_memory=3 * SIZE) as pool:
        array = np.ones(SIZE, np.uint8)
        array[-1] = 7
        assert pool.map(_facts, [array, array]) == [(SIZE, 1, 7)] * 2
        del array
        result = pool.apply(_zeros, (SIZE,))
        assert _facts(result) == (SIZE, 0, 9)


def test_bytes_of_more_than_4_gib_travel() -> None:
    """A pickle may be longer than 4 GiB as well as a buffer."""
    with procession.Pool(1, block_memory=3 * SIZE) as pool:
        assert pool.apply(_ends, (b"x" * SIZE,)) == (SIZE, ord("x"))
