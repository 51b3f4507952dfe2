"""Which positions have been seen, as ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from procession.mapping.ranges import Ranges

pieces = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), max_size=20)


@given(pieces)
def test_each_position_is_new_once(found: list[tuple[int, int]]) -> None:
    """What is said to be new is what was not there, whatever overlaps; the low mark is the first that is missing."""
    ranges, seen = Ranges(), set[int]()
    for start, count in found:
        new = [position for first, stop in ranges.add(start, start + count) for position in range(first, stop)]
        assert new == sorted(set(range(start, start + count)) - seen)
        seen.update(new)
        assert ranges.low == next(position for position in range(100) if position not in seen)


def test_neighbours_are_joined() -> None:
    """So that a stream keeps a few ranges, not one for each of its chunks."""
    ranges = Ranges()
    for start in range(10, 1000, 10):
        ranges.add(start, start + 10)
    assert ranges._starts == [10]
    ranges.add(0, 10)
    assert (ranges.low, ranges._starts) == (1000, [])
