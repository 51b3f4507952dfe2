"""What `imap` and `imap_unordered` promise: laziness, order, next with a timeout, errors at their place."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.gates import Gate

DEADLINE = 60
chunksizes = pytest.mark.parametrize("chunksize", [1, 3, 100])
busy = pytest.mark.needs_processes("in the caller's process nothing is ever being waited for")


@chunksizes
def test_imap_keeps_the_order(pool: Any, chunksize: int) -> None:
    """`imap(f, xs)` yields `f(x)` in the order of xs."""
    assert list(pool.imap(tasks.double, range(20), chunksize)) == [2 * n for n in range(20)]
    assert list(pool.imap(tasks.double, iter(range(20)), chunksize=chunksize)) == [2 * n for n in range(20)]


@chunksizes
def test_imap_unordered_gives_everything_once(pool: Any, chunksize: int) -> None:
    """`imap_unordered` yields the same values, in any order."""
    assert sorted(pool.imap_unordered(tasks.double, range(20), chunksize)) == [2 * n for n in range(20)]


def test_the_result_is_an_iterator(pool: Any) -> None:
    """`iter` of it is itself, `next` at the end is StopIteration, for ever."""
    for result in (pool.imap(tasks.double, [1]), pool.imap_unordered(tasks.double, [1])):
        assert iter(result) is result
        assert next(result) == 2
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(result)


def test_next_takes_a_timeout(pool: Any) -> None:
    """`next(timeout)` gives what is there, and StopIteration at the end."""
    for result in (pool.imap(tasks.double, [1, 2]), pool.imap_unordered(tasks.double, [1, 2])):
        assert sorted([result.next(DEADLINE), result.next(timeout=DEADLINE)]) == [2, 4]
        with pytest.raises(StopIteration):
            result.next(DEADLINE)


@busy
def test_next_raises_timeout_error_and_loses_nothing(pool: Any, make_gate: Callable[[], Gate]) -> None:
    """`next(timeout)` raises multiprocessing.TimeoutError while the item runs; the item comes with a later `next`."""
    for mapping in (pool.imap, pool.imap_unordered):
        gate = make_gate()
        result = mapping(functools.partial(tasks.through, gate), ["a"])
        for timeout in (0, 0.05):
            with pytest.raises(multiprocessing.TimeoutError):
                result.next(timeout)
        gate.open()
        assert result.next(DEADLINE) == "a"


@busy
def test_imap_waits_for_the_first_and_imap_unordered_does_not(
    make_pool: Callable[..., Any], make_gate: Callable[[], Gate]
) -> None:
    """While the first item runs, `imap` gives nothing and `imap_unordered` gives the others."""
    pool = make_pool(2)
    for mapping, at_once in ((pool.imap, False), (pool.imap_unordered, True)):
        gate = make_gate()
        result = mapping(functools.partial(tasks.through_if, gate, 0), range(4), 1)
        gate.wait_arrived(1)
        if at_once:
            assert sorted(result.next(DEADLINE) for _ in range(3)) == [1, 2, 3]
        with pytest.raises(multiprocessing.TimeoutError):
            result.next(0.05)
        gate.open()
        assert list(result) == ([0] if at_once else [0, 1, 2, 3])


def test_an_error_is_raised_at_its_place_and_the_rest_follows(pool: Any) -> None:
    """An item that fails raises from its own `next`; the items after it are still delivered."""
    result = pool.imap(tasks.fail_if_odd, range(4), 1)
    assert _drain(result) == [0, "ValueError: 1", 2, "ValueError: 3"]
    assert sorted(map(str, _drain(pool.imap_unordered(tasks.fail_if_odd, range(4), 1)))) == [
        "0",
        "2",
        "ValueError: 1",
        "ValueError: 3",
    ]


@pytest.mark.not_in_stdlib("with chunks it is a generator, which an error ends")
@pytest.mark.parametrize("chunksize", [2, 3, 100])
def test_chunks_change_nothing_in_imap(pool: Any, chunksize: int) -> None:
    """With any chunksize errors stay at their item, and `next` takes a timeout."""
    result = pool.imap(tasks.fail_if_odd, range(4), chunksize)
    assert result.next(timeout=DEADLINE) == 0
    assert _drain(result) == ["ValueError: 1", 2, "ValueError: 3"]
    unordered = _drain(pool.imap_unordered(tasks.fail_if_odd, range(4), chunksize))
    assert sorted(map(str, unordered)) == ["0", "2", "ValueError: 1", "ValueError: 3"]


@pytest.mark.parametrize("items", ["generator", "sized"])
def test_an_error_of_the_input_is_raised_at_its_place(pool: Any, items: str) -> None:
    """When the iterable raises at index n, the n items before it are delivered, then the error is raised."""
    make = tasks.failing_input if items == "generator" else functools.partial(tasks.FailingSequence, 10)
    assert _drain(pool.imap(tasks.double, make(3), 1)) == [0, 2, 4, "InputError: 3"]
    result = pool.imap_unordered(tasks.double, make(3), 1)
    assert sorted(map(str, _drain(result))) == ["0", "2", "4", "InputError: 3"]
    assert _drain(pool.imap(tasks.double, make(0), 1)) == ["InputError: 0"]
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


def test_an_error_of_the_input_in_a_chunk_comes_after_the_chunks_before_it(pool: Any) -> None:
    """With chunks, all complete chunks before the error are delivered first."""
    got = _drain(pool.imap(tasks.double, tasks.failing_input(7), 2), limit=9)
    assert got[:6] == [0, 2, 4, 6, 8, 10]
    assert got[-1] == "InputError: 7"


@pytest.mark.not_in_stdlib("items read before the error in the same chunk are lost")
def test_no_item_before_an_error_of_the_input_is_lost(pool: Any) -> None:
    """Whatever the chunksize, every item that the iterable gave is delivered before its error."""
    assert _drain(pool.imap(tasks.double, tasks.failing_input(7), 4)) == [*range(0, 14, 2), "InputError: 7"]


@pytest.mark.parametrize("mapping", ["imap", "imap_unordered"])
def test_an_endless_input_is_read_as_it_is_needed(pool: Any, mapping: str) -> None:
    """A lazy mapping of an infinite generator gives its first results at once, and the pool can be terminated."""
    result = getattr(pool, mapping)(tasks.double, itertools.count())
    assert all(value % 2 == 0 for value in itertools.islice(result, 50))


@pytest.mark.not_in_stdlib("its window is whatever the pipe holds, and results pile up (gh-84291)")
def test_what_nobody_takes_is_not_made(make_pool: Callable[..., Any]) -> None:
    """Undelivered results count against the window: input is not read ahead without limit."""
    pool = make_pool()
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    result = pool.imap(tasks.double, endless())
    assert next(result) == 2
    pool.map(tasks.double, range(1000))  # a time in which an unbounded reader would have run away
    assert read <= 10_000


@busy
def test_imap_begins_without_being_asked(pool: Any, gate: Gate) -> None:
    """The first tasks run as soon as `imap` is called, before any `next`."""
    result = pool.imap(functools.partial(tasks.through, gate), [1, 2])
    gate.wait_arrived(2)
    gate.open()
    assert list(result) == [1, 2]


@busy
@pytest.mark.parametrize("kind", [int, str, list], ids=["numbers", "texts", "lists"])
def test_an_input_may_wait_for_the_results_of_its_items(pool: Any, kind: type) -> None:
    """Each item is run as soon as it is there, however tiny, though the next may never come."""
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    made = [kind() if kind is list else kind(number) for number in range(200)]

    def items() -> Iterator[Any]:
        for item in made:
            yield item
            assert results.get(timeout=DEADLINE) == item

    for value in pool.imap(tasks.identity, items()):
        results.put(value)
    assert results.empty()


class Bare:
    """What `iter` may give: it has `__next__`, and nothing else."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


class Countdown:
    """Whose iterators are bare."""

    def __iter__(self) -> Bare:  # type: ignore[override]
        return Bare(50)


@pytest.mark.parametrize("mapping", ["imap", "imap_unordered"])
def test_an_iterator_needs_next_alone(pool: Any, mapping: str) -> None:
    """As in a `for` loop over its iterable."""
    assert sorted(getattr(pool, mapping)(tasks.double, Countdown())) == list(range(0, 100, 2))


@pytest.mark.needs_processes("an item is handed over as it is, and may be changed")
def test_items_of_all_kinds_keep_their_places(pool: Any) -> None:
    """Also when numbers, texts and what may change come in turns, and a list is filled again for each item."""
    buffer: list[int] = []

    def items() -> Iterator[Any]:
        for number in range(300):
            buffer[:] = [number]
            yield from (number, f"{number}", buffer, (number, None), "x" * 1000, float(number))

    expected = [each for n in range(300) for each in (n, f"{n}", [n], (n, None), "x" * 1000, float(n))]
    assert list(pool.imap(tasks.identity, items())) == expected


def test_two_imaps_do_not_disturb_each_other(pool: Any) -> None:
    """Results of interleaved calls never mix."""
    first = pool.imap(tasks.double, range(50))
    second = pool.imap(tasks.double, range(100, 150))
    pairs = list(zip(first, second, strict=True))
    assert pairs == [(2 * n, 200 + 2 * n) for n in range(50)]


def _drain(result: Iterator[Any], limit: int = 20) -> list[Any]:
    """Take everything, an error as the text of its class and argument."""
    got: list[Any] = []
    while len(got) < limit:
        try:
            got.append(next(result))
        except StopIteration:
            break
        except Exception as error:
            got.append(f"{type(error).__name__}: {error}")
    return got


@pytest.mark.not_in_stdlib("its iterators are one thread's")
def test_threads_may_share_an_iterator(pool: Any) -> None:
    """Each value goes to one of them, and none is told of an end before there is one."""
    result = pool.imap(tasks.identity, iter(range(2000)), 7)
    found: list[list[int]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(result)) for mine in found]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert sorted(itertools.chain.from_iterable(found)) == list(range(2000))


@pytest.mark.not_in_stdlib("stop_when= is ours")
def test_an_error_of_the_input_behind_the_end_of_the_run_is_none(pool: Any) -> None:
    """Enough is enough, whatever the input does then."""
    over = threading.Event()

    def items() -> Iterator[int]:
        yield from range(3)
        over.wait(DEADLINE)
        raise OSError("nobody wants to know")

    result = pool.imap_unordered(tasks.identity, items(), stop_when=3)
    found = [next(result) for _ in range(3)]
    over.set()
    assert sorted([*found, *result]) == [0, 1, 2]
