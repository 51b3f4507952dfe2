"""Sizes follow the clock, within their bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from procession.engine import pace
from procession.engine.pace import Pace

counts = st.integers(1, 1_000_000)
seconds = st.floats(0, 1000)
histories = st.lists(st.tuples(counts, seconds), max_size=8)


def _paced(history: list[tuple[int, float]]) -> Pace:
    made = Pace()
    for count, took in history:
        made.observe(count, took)
    return made


@given(left=counts, workers=st.integers(1, 300))
def test_the_unknown_is_tried_with_one_item(left: int, workers: int) -> None:
    """Before anything is measured, one item travels at a time, and none waits behind it."""
    new = Pace()
    assert new.chunk_size(left, workers) == 1
    assert new.bundle_size(left, 1, workers) == 1
    assert new.credit(left) == 1
    assert not new.is_tiny(1)


@given(history=histories, left=counts, workers=st.integers(1, 300))
def test_a_chunk_is_never_empty_nor_more_than_a_fair_share(
    history: list[tuple[int, float]], left: int, workers: int
) -> None:
    """Whatever was measured, a chunk has an item, and leaves every worker its chunks of the rest."""
    size = _paced(history).chunk_size(left, workers)
    assert 1 <= size <= max(1, -(-left // (pace.SHARES * workers)))


@given(history=histories, left=counts, unit=st.integers(1, 1000), workers=st.integers(1, 300))
def test_a_bundle_is_never_empty_nor_unlimited(
    history: list[tuple[int, float]], left: int, unit: int, workers: int
) -> None:
    """A bundle has a unit, and at most its limit or an equal share of the rest; more only of tiny ones."""
    paced = _paced(history)
    units = paced.bundle_size(left, unit, workers)
    assert 1 <= units <= min(pace.BUNDLE_LIMIT, left)
    assert units == 1 or units <= -(-left // workers) or paced.is_tiny(unit * (units - 1))


@given(history=histories, items=counts)
def test_credit_is_bounded(history: list[tuple[int, float]], items: int) -> None:
    """A worker may always hold one chunk, and never more than the limit."""
    assert 1 <= _paced(history).credit(items) <= pace.CREDIT_LIMIT


@given(history=histories.filter(bool), left=counts, workers=st.integers(1, 300))
def test_chunks_grow_step_by_step(history: list[tuple[int, float]], left: int, workers: int) -> None:
    """A chunk is at most so many times longer than the longest that was measured."""
    largest = max(count for count, _ in history)
    assert _paced(history).chunk_size(left, workers) <= largest * pace.GROWTH


def test_long_items_travel_alone() -> None:
    """Items longer than a chunk should be go one by one, with no backlog."""
    slow = _paced([(1, 0.5)])
    assert slow.chunk_size(10_000, 2) == 1
    assert slow.bundle_size(10_000, 1, 2) == 1
    assert slow.credit(1) == 1


def test_chunks_come_to_take_the_time_they_should() -> None:
    """After some chunks of steady items, one takes about the aimed time."""
    steady = Pace()
    each = 10e-6
    for _ in range(10):
        size = steady.chunk_size(10**9, 2)
        steady.observe(size, size * each)
    assert 0.5 * pace.CHUNK_SECONDS < steady.chunk_size(10**9, 2) * each <= pace.CHUNK_SECONDS


def test_the_pace_follows_a_change() -> None:
    """When items become long, chunks shrink at once by half and more."""
    changing = _paced([(1000, 0.001)] * 5)
    before = changing.chunk_size(10**9, 2)
    changing.observe(before, before * 1.0)
    assert changing.chunk_size(10**9, 2) == 1


def test_shares_do_not_become_ever_smaller() -> None:
    """What takes no longer than handing it out is not divided; it would end as a chunk for each of the last items."""
    quick = _paced([(1000, 0.001)])
    assert quick.bundle_size(40, 1, 2) == 40
    assert quick.bundle_size(400, 1, 2) == 200


def test_a_short_chunk_says_little_of_the_pace() -> None:
    """Most of its time is what it takes to begin a chunk."""
    quick = _paced([(1000, 0.001), (1, 10e-6)])
    assert quick.seconds_per_item is not None
    assert quick.seconds_per_item < 2e-6


def test_tiny_is_what_costs_less_than_waking() -> None:
    """Microseconds are tiny, milliseconds are not; it depends on the whole chunk."""
    quick = _paced([(100, 100e-6)])
    assert quick.is_tiny(10)
    assert not quick.is_tiny(1000)
