"""What waits of a source: every item comes once, in runs and singly, whoever adds while it is taken."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.mapping.waiting import Plain, Waiting, is_plain

STEPS = st.lists(st.sampled_from(["plain", "pickled", "skip", "take", "back", "fail", "put off"]), max_size=60)


def take(waiting: Waiting, count: int) -> tuple[int, list[Any]]:
    """Take the next items, as `Frames.cut` does."""
    plain = waiting.take_plain(count)
    if plain is not None:
        return plain
    position, frame, _definitions = waiting.take()
    return position, [frame]


@given(STEPS, st.integers(1, 5))
def test_every_item_comes_once(steps: list[str], count: int) -> None:
    """With its own position, whatever is skipped, given back or put off."""
    waiting, position = Waiting(), 0
    left: set[int] = set()
    for step in steps:
        if step == "plain":
            waiting.open_run(position).append(position)
            left.add(position)
        elif step == "pickled":
            waiting.add(position, position, ())
            left.add(position)
        elif step == "skip":
            waiting.close_run()
        elif left:
            if step == "put off":
                waiting.put_off()
                continue
            assert waiting.first in left
            first, items = take(waiting, count)
            assert items == list(range(first, first + len(items)))
            if step == "take":
                left -= set(items)
            else:
                waiting.put_back(first, items, (), singly=step == "fail")
                assert waiting.first == first
                continue
        position += step in ("plain", "pickled", "skip")
        assert waiting.count == len(left)
    while waiting.count:
        left -= set(take(waiting, count)[1])
    assert not left


def test_what_has_failed_is_taken_alone() -> None:
    """It may be what fails again."""
    waiting = Waiting()
    for number in range(3):
        waiting.open_run(number).append(number)
    first, items = take(waiting, 3)
    waiting.put_back(first, items, (), singly=True)
    assert [take(waiting, 3) for _ in range(3)] == [(0, [0]), (1, [1]), (2, [2])]


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_adding_and_taking_need_no_lock() -> None:
    """Nothing is lost and nothing comes twice."""
    waiting, total = Waiting(), 30_000

    def add() -> None:
        for number in range(total):
            if number % 1000 == 7:
                waiting.add(number, number, ())
            else:
                waiting.open_run(number).append(number)

    adder = threading.Thread(target=add)
    adder.start()
    found: list[int] = []
    while len(found) < total:
        if waiting.count:
            found += take(waiting, 64)[1]
    adder.join()
    assert found == list(range(total))
    assert waiting.count == 0


@pytest.mark.parametrize("item", [0, 1.5, True, 2j, None, "text", b"bytes", (1, 2.5), ()])
def test_plain_items(item: Any) -> None:
    """Numbers, short texts, and short tuples of numbers."""
    assert is_plain(item)


@pytest.mark.parametrize(
    "item",
    [
        1 << 600,
        (1, -1 << 600),
        [1],
        {},
        "x" * 1000,
        b"x" * 1000,
        (1, "text"),
        tuple(range(100)),
        bytearray(1),
        type("int", (int,), {})(),
    ],
)
def test_items_that_are_not_plain(item: Any) -> None:
    """Whatever may change, is large, or runs code when it is pickled."""
    assert not is_plain(item)


def test_plain_items_stay_plain() -> None:
    """When they come back, they are still pickled together."""
    waiting = Waiting()
    for number in range(4):
        waiting.open_run(number).append(number)
    first, items = take(waiting, 4)
    waiting.put_back(first + 1, Plain(items[1:]), (), singly=False)
    assert waiting.take_plain(9) == (1, [1, 2, 3])
