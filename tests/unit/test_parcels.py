"""Parcels and views: what is packed on one side is read on the other, and each side's memory is its own."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from procession.system import close_all, mapping
from procession.wire import views as views_module
from procession.wire.arena import Arena
from procession.wire.leases import LEASES, Leases
from procession.wire.parcel import Frame, Known, Parcel, describe_file, described_blocks, pack, pack_file, same_bytes
from procession.wire.pickled import BUFFER_THRESHOLD
from procession.wire.serial import Encoder
from procession.wire.views import Views

BIG = BUFFER_THRESHOLD


class Pair:
    """A lender and a borrower in one process."""

    def __init__(self) -> None:
        self.page = memoryview(bytearray(LEASES))
        self.arena = Arena(64 << 20)
        self.leases = Leases(self.page)
        self.views = Views(self.page)
        self.encoder = Encoder()

    def pack(self, obj: Any, known: Known | None = None) -> Frame:
        """Pack an object into the arena."""
        return pack(self.encoder.encode(obj), self.arena.allocate, known)

    def read(self, frame: Frame) -> Any:
        """Describe a frame to the borrower and read it there."""
        fds: list[int] = []
        text = frame if isinstance(frame, bytes) else frame.describe(self.leases.lend, fds)
        if not self.views.has_arena and self.arena.fileno() >= 0:
            self.views.adopt(os.dup(self.arena.fileno()))
        try:
            return self.views.read(text, fds)
        finally:
            close_all(fds)

    def collect(self) -> bool:
        """Let the borrower report, and the lender look."""
        self.views.settle()
        return self.leases.collect()

    def close(self) -> None:
        """Give everything back."""
        self.leases.clear()
        self.views.close()
        self.arena.close()


@pytest.fixture
def pair(no_leaks: None) -> Iterator[Pair]:
    """Give a lender and a borrower."""
    made = Pair()
    yield made
    made.close()


def test_what_is_small_stays_a_pickle(pair: Pair) -> None:
    """Below the threshold nothing but a pickle is made."""
    for value in (1, "text", b"x" * 1000, np.arange(100), [1, {"a": (2,)}]):
        frame = pair.pack(value)
        assert isinstance(frame, bytes)
        assert pickle.loads(frame) is not None


@pytest.mark.parametrize(
    "value",
    [
        b"x" * (3 * BIG),
        bytearray(b"y" * (3 * BIG)),
        "z" * (3 * BIG),
        {"a": [b"x" * BIG, "y" * BIG], "b": bytearray(BIG)},
    ],
    ids=["bytes", "bytearray", "text", "nested"],
)
def test_large_texts_and_bytes(pair: Pair, value: Any) -> None:
    """What owns its memory is copied out of the block, which then is free."""
    frame = pair.pack(value)
    assert isinstance(frame, Parcel)
    read = pair.read(frame)
    assert read == value
    assert type(read) is type(value)
    del frame
    assert pair.collect()
    assert not pair.leases


@pytest.mark.parametrize("size", [BIG, BIG + 1, 10 * BIG + 7])
def test_an_array_is_a_view_of_the_block(pair: Pair, size: int) -> None:
    """Its bytes arrive, aligned and writable; the loan lasts as long as the array."""
    array = np.arange(size, dtype=np.uint8)
    read = pair.read(pair.pack({"first": array, "more": [array[:10], np.ones(BIG)]}))
    assert (read["first"] == array).all()
    assert read["first"].ctypes.data % 64 == 0
    assert read["more"][1].ctypes.data % 64 == 0
    assert read["first"].flags.writeable
    read["first"][:] = 0
    kept = read["first"][5:6]
    del read
    assert not pair.collect()
    assert kept[0] == 0
    del kept
    assert pair.collect()


def test_a_read_only_array_stays_read_only(pair: Pair) -> None:
    """As with pickle."""
    array = np.ones(BIG)
    array.flags.writeable = False
    assert not pair.read(pair.pack(array)).flags.writeable


@pytest.mark.parametrize(
    "view",
    [
        memoryview(bytearray(BIG)),
        memoryview(b"x" * BIG),
        memoryview(np.arange(BIG, dtype="i4").reshape(-1, 8)),
        memoryview(np.arange(4 * BIG, dtype="i2"))[::2],
        memoryview(b"small"),
        memoryview(np.arange(6.0).reshape(2, 3)),
    ],
    ids=["writable", "read-only", "2d", "strided", "small", "small-2d"],
)
def test_a_memoryview_arrives_as_one(pair: Pair, view: memoryview) -> None:
    """With its format and shape, and writable if it was."""
    read = pair.read(pair.pack(view))
    assert type(read) is memoryview
    assert (read.format, read.shape, read.readonly) == (view.format, view.shape, view.readonly)
    assert read == view


def test_known_arrays_are_stored_once(pair: Pair) -> None:
    """The same array in several items is one block, and each reader writes into a copy of its own."""
    known = Known(4, verify=False)
    array = np.zeros(BIG)
    first = pair.read(pair.pack((array, 1), known))
    used = pair.arena.used
    second = pair.read(pair.pack((array, 2), known))
    assert pair.arena.used == used
    first[0][:] = 1
    assert not second[0].any()
    assert not array.any()


def test_a_changed_array_is_not_mistaken_for_the_known_one(pair: Pair) -> None:
    """Where the owner may change an array between two items, it is compared."""
    known = Known(4, verify=True)
    array = np.zeros(BIG)
    frames = [pair.pack(array, known)]
    used = pair.arena.used
    frames.append(pair.pack(array, known))
    assert pair.arena.used == used
    array[-1] = 3
    frames.append(pair.pack(array, known))
    assert pair.arena.used > used
    assert [pair.read(frame)[-1] for frame in frames] == [0, 0, 3]


def test_only_the_last_arrays_are_remembered(pair: Pair) -> None:
    """What is known does not keep the memory of a whole map."""
    known = Known(2, verify=False)
    for _ in range(10):
        pair.pack(np.zeros(BIG), known)
    block = 8 * BIG
    assert pair.arena.used <= 4 * block
    known.clear()
    pair.arena.has_room(1)
    assert pair.arena.used == 0


def test_a_bytearray_may_grow_after_it_was_sent(pair: Pair) -> None:
    """Nothing of the sender's stays exported, for it may want to resize it."""
    known = Known(4, verify=True)
    data = bytearray(BIG)
    frame = pair.pack(memoryview(data), known)
    data.extend(b"more")
    assert len(pair.read(frame)) == BIG


def test_a_file_of_its_own_serves_any_number_of_readers(pair: Pair) -> None:
    """It is described again and again, and compared with a later pickle."""
    array = np.arange(float(BIG))
    frame = pack_file(pair.encoder.encode({"a": array}))
    assert isinstance(frame, Parcel)
    for _ in range(3):
        fds: list[int] = []
        text = describe_file(frame, fds)
        read = pair.views.read(text, fds)
        assert (read["a"] == array).all()
        read["a"][:] = 0
        assert sum(block.length for block in described_blocks(text)) >= array.nbytes
        close_all(fds)
    assert frame.holds(pair.encoder.encode({"a": array}))
    assert not frame.holds(pair.encoder.encode({"b": array}))
    array[7] += 1
    assert not frame.holds(pair.encoder.encode({"a": array}))


def test_a_range_that_cannot_be_mapped_is_copied(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many mappings cost a copy, and the loan is over at once."""

    def refuse(*_args: Any, **_options: Any) -> Any:
        raise OSError(12, "no more mappings")

    frame = pair.pack(np.arange(float(BIG)))
    monkeypatch.setattr(views_module, "map_range", refuse)
    read = pair.read(frame)
    assert read.sum() == BIG * (BIG - 1) / 2
    assert read.flags.writeable
    del frame
    assert pair.collect()


def test_a_fork_leaves_both_sides_what_they_had(pair: Pair) -> None:
    """After a fork neither sees what the other writes, and what was viewed then is not recycled."""
    read = pair.read(pair.pack(np.zeros(BIG)))
    read[0] = 1
    to_child, to_parent = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.read(to_child[0], 1)
            fine = read[0] == 1 and read[1] == 0
            read[2] = 5
            os.write(to_parent[1], b"x")
            code = 0 if fine else 1
        finally:
            os._exit(code)
    read[1] = 2
    os.write(to_child[1], b"x")
    os.read(to_parent[0], 1)
    assert os.waitpid(pid, 0)[1] == 0
    close_all((*to_child, *to_parent))
    assert read[:3].tolist() == [1, 2, 0]
    del read
    assert not pair.collect()


class Reads:
    """Part of a garbage cycle, reads its array when it is collected."""

    seen: list[float] = []  # noqa: RUF012

    def __init__(self, array: Any) -> None:
        self.array = array
        self.me = self

    def __del__(self) -> None:
        self.seen.append(float(self.array.sum()))


def test_a_view_can_be_read_until_the_very_end(pair: Pair) -> None:
    """The garbage collector may call a `__del__` that reads an array of the same cycle: it is all there."""
    for number in range(20):
        Reads(pair.read(pair.pack(np.full(BIG, float(number)))))
    gc.collect()
    assert sorted(Reads.seen) == sorted(float(number * BIG) for number in range(20))
    assert pair.collect()


def test_a_block_in_a_garbage_cycle_is_recycled_whole(pair: Pair) -> None:
    """A block may be collected with its reader and an error's frames; its memory can be written again."""
    for turn in range(6):
        frame = pair.pack(np.full(20 * BIG, float(turn)))
        cycle: list[Any] = [frame]
        cycle.append(cycle)
        del frame, cycle
        gc.collect()
        read = pair.read(pair.pack(np.full(20 * BIG, 2.0)))
        assert (read == 2.0).all()
        del read
        assert pair.collect()


def test_views_outlive_the_lender(pair: Pair) -> None:
    """What was read stays, when everything of the lender's is closed."""
    read = pair.read(pair.pack(np.arange(float(BIG))))
    pair.close()
    assert read.sum() == BIG * (BIG - 1) / 2
    read[:] = 1


def test_bytes_are_compared_to_the_last() -> None:
    """Equality is that of every byte, whatever the length."""
    for length in (0, 1, 7, 8, 9, 1000, 4099):
        data = os.urandom(length)
        assert same_bytes(memoryview(data), memoryview(bytearray(data)))
        for at in {0, length // 2, length - 1} if length else ():
            changed = bytearray(data)
            changed[at] ^= 1
            assert not same_bytes(memoryview(data), memoryview(changed))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives memory back piece by piece")
def test_a_hole_has_no_memory(no_leaks: None) -> None:
    """What is punched reads as zeros, and takes nothing."""
    from procession.system import anonymous_file

    fd = anonymous_file("procession-test", 1 << 20)
    os.pwrite(fd, b"x" * (1 << 20), 0)
    assert mapping.punch_hole(fd, 0, 1 << 19)
    assert os.pread(fd, 2, (1 << 19) - 1) == b"\0x"
    assert os.fstat(fd).st_blocks * 512 == 1 << 19
    os.close(fd)
