"""What waits behind an item that takes long is run elsewhere, once."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import pytest
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

import procession


def note_and_pass(notes: Notes, gate: Gate, slow: int, number: int) -> Any:
    """Note the item; the slow one waits at the gate, and gives a value of another type."""
    notes.write(number)
    if number == slow:
        gate.wait()
        return "slow"
    return number


@pytest.mark.parametrize("chunksize", [None, 200])
@pytest.mark.parametrize("slow", [0, 50, 199])
def test_the_rest_of_a_stuck_chunk_runs_elsewhere_once(
    notes: Notes, gate: Gate, slow: int, chunksize: int | None
) -> None:
    """While one item waits, another worker runs all items behind it, and none of them runs twice."""
    with procession.Pool(2) as pool:
        pool.map(abs, [1, 2])
        function = functools.partial(note_and_pass, notes, gate, slow)
        result = pool.map_async(function, range(200), chunksize)
        eventually(lambda: len(notes.texts()) == 200)
        gate.open()
        assert result.get(30) == [number if number != slow else "slow" for number in range(200)]
    assert set(Counter(notes.texts()).values()) == {1}
