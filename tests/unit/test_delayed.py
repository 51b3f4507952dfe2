"""Items that wait for their next try, with a clock that only the test turns."""

from __future__ import annotations

from typing import Any

from procession.engine.delayed import Delayed

from .fakes import FakeSource


def _chunk(source: FakeSource) -> Any:
    return source.cut(3)


def test_they_come_when_they_are_due() -> None:
    """In the order of their times, those that are due together, and none before."""
    delayed, chunk = Delayed(), _chunk(FakeSource(3))
    for due, index in ((3.0, 0), (1.0, 1), (2.0, 2)):
        delayed.add(due, chunk, index)
    assert delayed.seconds_left(0.5) == 0.5
    assert delayed.pop_due(0.5) == []
    assert delayed.pop_due(2.0) == [(chunk, 1), (chunk, 2)]
    assert delayed.seconds_left(9.0) == 0.0
    assert delayed.items() == [(chunk, 0)]
    assert delayed.pop_due(9.0) == [(chunk, 0)]
    assert not delayed
    assert delayed.seconds_left(9.0) is None


def test_a_source_that_is_dropped_takes_its_items_along() -> None:
    """Those of others stay; a single item can be taken out, too."""
    delayed = Delayed()
    one, other = FakeSource(3), FakeSource(3)
    first, second = _chunk(one), _chunk(other)
    for chunk in (first, second):
        for index in range(3):
            delayed.add(float(index), chunk, index)
    assert delayed.remove(one) == [(first, 0), (first, 1), (first, 2)]  # type: ignore[arg-type]
    assert delayed.remove(other, 1, second) == [(second, 1)]  # type: ignore[arg-type]
    assert delayed.items() == [(second, 0), (second, 2)]
    delayed.clear()
    assert not delayed
