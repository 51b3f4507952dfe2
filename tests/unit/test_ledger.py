"""The page that worker and parent share: what is written is what a reader sees, or it sees that it must not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from procession.wire import ledger as page
from procession.wire.ledger import Ledger, Position
from procession.wire.messages import Mode


@pytest.fixture
def pair(no_leaks: None) -> Iterator[tuple[Ledger, Ledger]]:
    """Give the page as its worker has it, and as the parent does."""
    fd = Ledger.create()
    parent, worker = Ledger(os.dup(fd)), Ledger(fd)
    yield worker, parent
    worker.close()
    parent.close()


def _open_leaf(worker: Ledger, mode: Mode, *, seq: int = 7, first: int = 0, timed: bool = False) -> None:
    words = worker.words
    words[page.LEAF] += 1
    words[page.CHUNK], words[page.FIRST], words[page.MODE], words[page.TIMED] = seq, first, mode, timed
    words[page.LEAF] += 1


def test_a_new_page_is_idle(pair: tuple[Ledger, Ledger]) -> None:
    """Before the first chunk there is no position and nothing to read."""
    _, parent = pair
    assert parent.position() is None
    assert parent.peek() is None


def test_the_position_is_the_item_that_runs(pair: tuple[Ledger, Ledger]) -> None:
    """The parent sees the chunk, the index of the running item and when it began."""
    worker, parent = pair
    _open_leaf(worker, Mode.INTS, seq=42, first=1000)
    worker.words[page.DONE] = 17
    worker.words[page.STARTED] = 123
    assert parent.position() == Position(42, 1017, 123, reading=False, begun_ns=0)
    worker.words[page.BEGUN] = 456
    worker.words[page.BEGUN_AT] = 1017
    assert parent.position() == Position(42, 1017, 123, reading=False, begun_ns=456)
    worker.words[page.READING] = True
    assert parent.position() == Position(42, 1017, 123, reading=True, begun_ns=123)


@pytest.mark.parametrize(
    ("mode", "column", "values"), [(Mode.INTS, "ints", [1, -5, 2**63 - 1]), (Mode.FLOATS, "floats", [0.5, -1e300, 0.0])]
)
@pytest.mark.parametrize("timed", [False, True])
def test_columns_are_read_as_they_were_written(
    pair: tuple[Ledger, Ledger], mode: Mode, column: str, values: list[float], timed: bool
) -> None:
    """Only what is committed is read, with its seconds if they are measured."""
    worker, parent = pair
    _open_leaf(worker, mode, first=5, timed=timed)
    for row, value in enumerate(values):
        getattr(worker, column)[row] = value
        worker.times[row] = row / 4
    worker.words[page.DONE] = 2
    part = parent.peek()
    assert part is not None
    assert (part.mode, part.count, part.first, part.final, part.timed) == (mode, 2, 5, False, timed)
    times, body = (part.body[:16], part.body[16:]) if timed else (part.body[:0], part.body)
    assert times.cast("d").tolist() == ([0.0, 0.25] if timed else [])
    assert body.cast("q" if mode is Mode.INTS else "d").tolist() == values[:2]


def test_nones_need_no_bytes(pair: tuple[Ledger, Ledger]) -> None:
    """A column of None is its count."""
    worker, parent = pair
    _open_leaf(worker, Mode.NONES)
    worker.words[page.DONE] = 3000
    part = parent.peek()
    assert part is not None
    assert (part.count, bytes(part.body)) == (3000, b"")


def test_frames_are_read_with_their_table(pair: tuple[Ledger, Ledger]) -> None:
    """The table of ends comes first, an error's end negative, then the bytes up to the last end."""
    worker, parent = pair
    _open_leaf(worker, Mode.FRAMES)
    worker.data[:6] = b"abcdef"
    worker.table[0], worker.table[1] = 2, -6
    worker.words[page.DONE] = 2
    part = parent.peek()
    assert part is not None
    assert part.body[:16].cast("q").tolist() == [2, -6]
    assert bytes(part.body[16:]) == b"abcdef"


def test_a_leaf_that_changes_is_not_read(pair: tuple[Ledger, Ledger]) -> None:
    """While the worker turns the leaf there is nothing to read, and again afterwards there is."""
    worker, parent = pair
    _open_leaf(worker, Mode.NONES)
    worker.words[page.DONE] = 1
    worker.words[page.LEAF] += 1
    assert parent.peek() is None
    worker.words[page.LEAF] += 1
    assert parent.peek() is not None


def test_a_full_leaf_fits_its_page(pair: tuple[Ledger, Ledger]) -> None:
    """The last row of every column can be written and read."""
    worker, parent = pair
    _open_leaf(worker, Mode.INTS)
    worker.ints[page.COLUMN_ROWS - 1] = 9
    worker.words[page.DONE] = page.COLUMN_ROWS
    part = parent.peek()
    assert part is not None
    assert part.body.cast("q")[page.COLUMN_ROWS - 1] == 9
    _open_leaf(worker, Mode.FRAMES)
    worker.data[page.DATA_SIZE - 1] = 5
    worker.table[page.ROWS - 1] = page.DATA_SIZE
    worker.words[page.DONE] = page.ROWS
    part = parent.peek()
    assert part is not None
    assert len(part.body) == 8 * page.ROWS + page.DATA_SIZE


def test_what_comes_behind_a_limit_is_not_read(pair: tuple[Ledger, Ledger]) -> None:
    """Of a leaf that goes on, as much as was there at an earlier look; nothing, if that was another leaf."""
    worker, parent = pair
    _open_leaf(worker, Mode.INTS, first=5)
    worker.ints[0], worker.ints[1] = 7, 8
    worker.words[page.DONE] = 2
    part = parent.peek(6)
    assert part is not None
    assert (part.first, part.count, part.body.cast("q").tolist()) == (5, 1, [7])
    assert parent.peek(5) is None
    assert parent.peek(3) is None


def test_the_place_of_the_running_item(pair: tuple[Ledger, Ledger]) -> None:
    """The chunk and the index, for a message of the item; none while there is no item, or the leaf is turned."""
    worker, _parent = pair
    assert worker.place() is None
    _open_leaf(worker, Mode.INTS, first=5)
    worker.words[page.DONE] = 2
    assert worker.place() == (worker.words[page.CHUNK], 7)
    worker.words[page.READING] = 1
    assert worker.place() is None
    worker.words[page.READING] = 0
    worker.words[page.LEAF] += 1
    assert worker.place() is None
