"""`block_memory` caps the shared memory of a pool: what does not fit now waits, what never fits is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import pytest
from tests.helpers import arrays, tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate
from tests.helpers.pools import put_away

import procession

DEADLINE = 60
MEGABYTE = 1_000_000
CAP = 64 * MEGABYTE
LENGTH = MEGABYTE  # of float64: 8 MB
COUNT = 60
pytestmark = pytest.mark.not_in_stdlib("not in its interface")


@pytest.fixture
def make_capped(no_leaks: None) -> Iterator[Callable[..., Any]]:
    """Give a function that makes pools with a cap; they are terminated and joined at the end."""

    def make(block_memory: Any = "64MB", processes: int = 2, **options: Any) -> Any:
        return procession.Pool(processes, block_memory=block_memory, **options)

    with put_away(make) as kept:
        yield kept


def _inputs(count: int = COUNT) -> Iterator[Any]:
    """Give arrays of 8 MB, each full of its number; always the same memory, to keep the test small."""
    array = np.empty(LENGTH)
    for number in range(count):
        array.fill(number)
        yield array


def _submit(pool: Any, function: Callable[[Any], Any], items: Iterator[Any]) -> list[Any]:
    submitted = [pool.submit(function, item) for item in items]
    return [task.result(DEADLINE) for task in submitted]


def _apply_async(pool: Any, function: Callable[[Any], Any], items: Iterator[Any]) -> list[Any]:
    results = [pool.apply_async(function, (item,)) for item in items]
    return [result.get(DEADLINE) for result in results]


FACES: dict[str, Callable[[Any, Callable[[Any], Any], Any], list[Any]]] = {
    "submit": _submit,
    "apply_async": _apply_async,
    "map_async": lambda pool, function, items: pool.map_async(function, items).get(DEADLINE),
    "map_async-7": lambda pool, function, items: pool.map_async(function, items, 7).get(DEADLINE),
    "map": lambda pool, function, items: pool.map(function, items),
    "imap": lambda pool, function, items: list(pool.imap(function, items)),
    "imap-7": lambda pool, function, items: list(pool.imap(function, items, 7)),
    "imap_unordered": lambda pool, function, items: sorted(pool.imap_unordered(function, items)),
    "outcomes": lambda pool, function, items: [outcome.value for outcome in pool.outcomes(function, items, 3)],
}
faces = pytest.mark.parametrize("run", [pytest.param(run, id=name) for name, run in FACES.items()])


def _value_of_big(array: Any) -> Any:
    """Look at a few elements only: the test is of the way, not of the sum."""
    first, middle, last = array[0].item(), array[LENGTH // 2].item(), array[-1].item()
    return first if first == middle == last else None


@faces
def test_more_than_the_cap_may_be_under_way(
    make_capped: Callable[..., Any], run: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    """Sixty arrays of 8 MB go through a pool that may hold 64 MB, one after another; none fails, none is mixed up."""
    items: Any = _inputs()
    if request.node.callspec.id in ("map", "map_async", "map_async-7"):  # they may take a generator as a whole
        items = [np.full(LENGTH, float(number)) for number in range(COUNT)]
    assert run(make_capped(), _value_of_big, items) == list(range(COUNT))


@pytest.mark.parametrize("face", ["submit", "map", "map_async-7", "imap"])
def test_results_larger_than_the_cap_come_back(make_capped: Callable[..., Any], face: str) -> None:
    """Sixty results of 8 MB come back from a pool that may hold 64 MB, all kept by the caller."""
    found = [array for _, array in FACES[face](make_capped(), _make_big, range(COUNT))]
    assert [_value_of_big(array) for array in found] == list(range(COUNT))


def _make_big(number: int) -> Any:
    return number, np.full(LENGTH, float(number))


@pytest.mark.parametrize(("processes", "cap"), [(1, "20MB"), (4, 30 * MEGABYTE)])
def test_arrays_both_ways_under_a_small_cap(make_capped: Callable[..., Any], processes: int, cap: Any) -> None:
    """Arrays there and back, with room for hardly more than one, by submits that are all made before any is read."""
    pool = make_capped(cap, processes)
    submitted = [pool.submit(tasks.double, array) for array in _inputs(20)]
    assert [_value_of_big(task.result(DEADLINE)) for task in submitted] == [2 * n for n in range(20)]
    results = [pool.apply_async(tasks.double, (array,)) for array in _inputs(10)]
    assert pool.map(_value_of_big, list(_inputs(1)) * 5) == [0] * 5
    assert [_value_of_big(result.get(DEADLINE)) for result in results] == [2 * n for n in range(10)]


def test_threads_that_wait_for_room_all_get_it(make_capped: Callable[..., Any]) -> None:
    """Several threads submit more than fits, all at once; each gets its own values."""
    pool = make_capped("40MB")
    found: dict[int, list[Any]] = {}

    def run(base: int) -> None:
        submitted = [pool.submit(_value_of_big, np.full(LENGTH, float(base + n))) for n in range(8)]
        found[base] = [task.result(DEADLINE) for task in submitted]

    threads = [threading.Thread(target=run, args=(base,)) for base in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert found == {base: [base + n for n in range(8)] for base in (0, 100, 200)}


def test_a_full_pool_waits_and_stays_below_its_cap(make_capped: Callable[..., Any], gate: Gate) -> None:
    """While the workers are held up, the calls that do not fit wait; never is more memory taken than the cap says."""
    pool = make_capped()
    peak = 0
    results: list[Any] = []

    def submit() -> None:
        blockers = [pool.submit(tasks.through, gate) for _ in range(2)]
        submitted = [pool.submit(_value_of_big, array) for array in _inputs(30)]
        results.extend(task.result(DEADLINE) for task in submitted)
        assert [task.result(DEADLINE) for task in blockers] == [None, None]

    thread = threading.Thread(target=submit)
    thread.start()
    gate.wait_arrived(2)
    eventually(lambda: arrays.shared_bytes() > CAP // 4)
    held_until = time.monotonic() + 0.3  # nothing tells that a call has begun to wait
    while thread.is_alive():
        peak = max(peak, arrays.shared_bytes())
        if time.monotonic() > held_until:
            gate.open()
        time.sleep(0.002)
    assert results == list(range(30))
    assert CAP // 4 < peak <= CAP * 1.05  # pages, and the pool's own few


@pytest.mark.parametrize("megabytes", [20, 40, 63])
def test_an_object_below_the_cap_fits(make_capped: Callable[..., Any], megabytes: int) -> None:
    """An object smaller than the cap travels, both ways, alone and several times in a row."""
    pool = make_capped(CAP, 1)
    array = np.zeros(megabytes * MEGABYTE, "u1")
    for _ in range(3):
        array[-1] += 1
        assert pool.apply(arrays.ends, (array,)) == (0, array[-1], len(array))
    assert arrays.ends(pool.apply(np.zeros, (len(array), "u1"))) == (0, 0, len(array))


TOO_BIG: dict[str, Callable[[Any, Any], object]] = {
    "apply": lambda pool, a: pool.apply(arrays.ends, (a,)),
    "apply_async": lambda pool, a: pool.apply_async(arrays.ends, (a,)),
    "submit": lambda pool, a: pool.submit(arrays.ends, a),
    "map": lambda pool, a: pool.map(arrays.ends, [a]),
    "map_async": lambda pool, a: pool.map_async(arrays.ends, [a]),
    "starmap": lambda pool, a: pool.starmap(arrays.facts_of, [(a, 1)]),
    "imap": lambda pool, a: list(pool.imap(arrays.ends, [a])),
    "outcomes": lambda pool, a: [_raise(outcome) for outcome in pool.outcomes(arrays.ends, [a])],
    "partial": lambda pool, a: pool.submit(lambda: len(a)),
    "bytes": lambda pool, a: pool.submit(len, bytes(a)),
}


def _raise(outcome: Any) -> NoReturn:
    raise outcome.error


def test_an_object_larger_than_the_cap_is_refused(make_capped: Callable[..., Any]) -> None:
    """What can never fit is a MemoryError at the call, which says how much it is and how much there is."""
    pool = make_capped(10 * MEGABYTE)
    array = np.zeros(12 * MEGABYTE, "u1")
    for name, call in TOO_BIG.items():
        with pytest.raises(MemoryError) as caught:
            call(pool, array)
        digits = str(caught.value).replace(",", "").replace("_", "")
        assert "12000" in digits, name  # the exact length may have a pickle around it
        assert "10000000" in digits, name
        assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]
        assert pool.apply(arrays.ends, (array[:MEGABYTE],)) == (0, 0, MEGABYTE)


def test_one_item_too_large_costs_that_item(make_capped: Callable[..., Any]) -> None:
    """In a map with on_error="return" the item that can never fit has a MemoryError in its place, the rest values."""
    pool = make_capped(10 * MEGABYTE)
    items = [np.zeros(12 * MEGABYTE if n == 3 else 200_000, "u1") for n in range(6)]
    found = pool.map(len, items, 2, on_error="return")
    assert isinstance(found.pop(3), MemoryError)
    assert found == [200_000] * 5


def test_a_result_larger_than_the_cap_costs_its_task(make_capped: Callable[..., Any]) -> None:
    """A result that is larger than the cap is a MemoryError of its task, and the pool goes on."""
    pool = make_capped(10 * MEGABYTE)
    with pytest.raises(MemoryError) as caught:
        pool.apply(np.zeros, (12 * MEGABYTE, "u1"))
    assert "10000000" in str(caught.value).replace(",", "")
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]
    assert len(pool.apply(np.zeros, (9 * MEGABYTE, "u1"))) == 9 * MEGABYTE


def test_a_wait_that_cannot_end_is_an_error(make_capped: Callable[..., Any]) -> None:
    """When workers keep for ever what they were sent, the call that finds no room raises, and does not hang."""
    pool = make_capped("20MB", 1)
    array = np.zeros(2 * MEGABYTE, "u1")
    with pytest.raises(MemoryError):
        _keep_many(pool, array)
    assert pool.apply(tasks.double, (2,)) == 4
    pool.apply(arrays.drop_kept)
    assert pool.apply(arrays.ends, (array,)) == (0, 0, len(array))


def _keep_many(pool: Any, array: Any) -> None:
    for _ in range(40):
        pool.apply(arrays.keep, (array,))


CAPS = (1 << 30, "300MB", "2GB", "1.5 GB", "500 MiB", "800000kB", "1000000000", np.int64(10**9))


@pytest.mark.parametrize("value", CAPS, ids=repr)
def test_the_cap_is_a_number_of_bytes_or_a_text(make_capped: Callable[..., Any], value: Any) -> None:
    """Integers and texts with a unit are taken."""
    pool = make_capped(value)
    assert arrays.uniform_value(pool.apply(tasks.double, (np.ones(LENGTH),))) == 2


@pytest.mark.parametrize("value", [-1, 0, "lots", "", "MB", "0MB", "-5MB", "5 XB", "1e9MB!", 1.5, [], b"5MB"], ids=repr)
def test_a_wrong_cap_is_refused_when_the_pool_is_made(value: Any) -> None:
    """What is no number of bytes, or none at all, is a ValueError or TypeError that names the option."""
    with pytest.raises((ValueError, TypeError), match="block_memory"):
        procession.Pool(1, block_memory=value)


def test_contexts_pass_the_cap_on() -> None:
    """The pools of every start method take the cap."""
    for method in ("forkserver", "spawn", "fork"):
        with procession.get_context(method).Pool(1, block_memory="10MB") as pool:
            with pytest.raises(MemoryError):
                pool.apply(len, (bytes(12 * MEGABYTE),))
            assert pool.apply(len, (bytes(MEGABYTE),)) == MEGABYTE
        pool.join()
