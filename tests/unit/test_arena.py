"""The arena and its loans: blocks are recycled when nobody needs them, and never before."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.system.mapping import PAGE
from procession.wire import arena as arena_module
from procession.wire.arena import Arena, NoRoom, size_class
from procession.wire.leases import LEASES, Leases
from procession.wire.parcel import NEVER_REPORTED


@pytest.fixture
def arena(no_leaks: None) -> Iterator[Arena]:
    """Give an arena of 16 MiB."""
    made = Arena(16 << 20)
    yield made
    made.close()


def _content(arena: Arena, offset: int, length: int) -> bytes:
    return os.pread(arena.fileno(), length, offset)


@given(st.integers(1, 1 << 45))
def test_a_size_class_holds_its_length_and_little_more(length: int) -> None:
    """An extent is at least as long as asked for, whole pages, and at most a quarter longer (or a page)."""
    size = size_class(length)
    assert size >= length
    assert size % PAGE == 0
    assert size <= max(length * 5 // 4 + PAGE, length + PAGE)
    assert size_class(size) == size


def test_a_block_is_recycled_when_its_last_reference_goes(arena: Arena) -> None:
    """The memory of a dropped block is the next block's of its size, and only then."""
    first = arena.allocate(100_000)
    kept = arena.allocate(100_000)
    assert kept.offset != first.offset
    offset = first.offset
    del first
    assert arena.allocate(100_000).offset == offset


@pytest.mark.parametrize("size", [5000, 3 << 20])
def test_every_use_of_a_block_holds_what_was_written(arena: Arena, size: int) -> None:
    """What is written arrives, the first time and through the mapping that later times use."""
    for turn in range(1, 6):
        block = arena.allocate(size)
        block.write([bytes([turn]) * (size - 2), b"", memoryview(b"ab")])
        assert _content(arena, block.offset, size) == bytes([turn]) * (size - 2) + b"ab"
        del block


def test_more_buffers_than_one_call_of_the_system_takes(arena: Arena) -> None:
    """Thousands of small buffers are written one after another."""
    block = arena.allocate(40_000)
    block.write([bytes([n % 256]) * 10 for n in range(4000)])
    assert _content(arena, block.offset, 40_000) == b"".join(bytes([n % 256]) * 10 for n in range(4000))


def test_a_full_arena_says_so_with_its_numbers(arena: Arena) -> None:
    """Over the limit there is no room; what is given back makes room again, also for another size."""
    blocks = [arena.allocate(4 << 20) for _ in range(4)]
    assert not arena.has_room(1)
    with pytest.raises(NoRoom) as full:
        arena.allocate(5000)
    assert (full.value.wanted, full.value.used, full.value.limit) == (8192, 16 << 20, 16 << 20)
    blocks.pop()
    assert arena.has_room(2 << 20)
    arena.allocate(2 << 20)


def test_idle_memory_goes_back_to_the_system(arena: Arena) -> None:
    """What was not used for a while has no memory behind it any more; the address is used again."""
    block = arena.allocate(1 << 20)
    block.write([b"x" * (1 << 20)])
    busy = arena.allocate(1 << 20)
    busy.write([b"y" * (1 << 20)])
    before = os.fstat(arena.fileno()).st_blocks
    offset = block.offset
    del block
    arena.trim(1000.0)
    assert os.fstat(arena.fileno()).st_blocks == before
    arena.trim(0.0)
    assert os.fstat(arena.fileno()).st_blocks * 512 <= 1 << 20
    assert not arena.has_free
    assert arena.allocate(1 << 20).offset == offset
    assert _content(arena, busy.offset, 3) == b"yyy"


def test_the_idle_time_is_seconds_not_minutes() -> None:
    """A pool that has done its work does not sit on its memory."""
    assert 1 <= arena_module.IDLE_SECONDS <= 60


def test_a_loan_ends_when_the_borrower_says_so(arena: Arena) -> None:
    """A lent block is not recycled before its number is reported, and is then."""
    page = memoryview(bytearray(LEASES))
    leases = Leases(page)
    block = arena.allocate(PAGE)
    offset, number = block.offset, leases.lend(block)
    del block
    assert not leases.collect()
    assert arena.allocate(PAGE).offset != offset
    page[number] = 1
    assert leases.collect()
    assert page[number] == 0
    assert not leases
    assert offset in {arena.allocate(PAGE).offset for _ in range(2)}


def test_numbers_of_loans_run_out_without_harm(arena: Arena) -> None:
    """Beyond the table a block is lent until the borrower is gone; reported numbers are used again."""
    page = memoryview(bytearray(LEASES))
    leases = Leases(page)
    block = arena.allocate(PAGE)
    numbers = [leases.lend(block) for _ in range(LEASES)]
    assert sorted(numbers) == list(range(LEASES))
    assert leases.lend(block) == NEVER_REPORTED
    page[17] = page[LEASES - 1] = 1
    assert {leases.lend(block), leases.lend(block)} == {17, LEASES - 1}
    leases.clear()
    assert not leases


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.integers(1, 60_000)), max_size=60))
def test_no_two_living_blocks_overlap(steps: list[tuple[bool, int, int]]) -> None:
    """Whatever is taken and dropped in whatever order, living blocks are apart and within the limit."""
    arena = Arena(300_000)
    blocks: dict[int, object] = {}
    try:
        for take, place, length in steps:
            blocks.pop(place, None)
            if take:
                try:
                    blocks[place] = arena.allocate(length)
                except NoRoom:
                    continue
            ranges = sorted((each.offset, each.offset + size_class(each.length)) for each in blocks.values())  # type: ignore[attr-defined]
            assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ranges))
            assert sum(end - start for start, end in ranges) == arena.used if not arena._returned else True
            assert arena.used <= 300_000
    finally:
        blocks.clear()
        arena.close()
