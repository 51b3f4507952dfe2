"""Big values travel as they are, through whatever face; what a worker writes in its copy is seen by nobody."""

from __future__ import annotations

import functools
import gc
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.helpers import arrays, tasks
from tests.helpers.arrays import BIG, KINDS, MIDDLE, SMALL, facts, ramp, reference
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate

from .subjects import Subject

pytestmark = pytest.mark.thorough

DEADLINE = 60
MANY = 100_000

copied = pytest.mark.needs_processes("in the caller's process nothing is copied")
beyond = pytest.mark.not_in_stdlib("not in its interface")
SIZES = (SMALL, MIDDLE, BIG)
unseen = pytest.mark.not_in_stdlib("items that are one object arrive as one object within a chunk")
hangs = pytest.mark.not_in_stdlib("terminate waits for ever when a worker was killed that held the lock of the queue")
sizes = pytest.mark.parametrize("count", SIZES, ids=["small", "middle", "big"])

# ------------------------------------------------------------------------------------------------------------- faces


def _submit(pool: Any, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    submitted = [pool.submit(function, item) for item in items]
    return [task.result(DEADLINE) for task in submitted]


def _apply_async(pool: Any, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    results = [pool.apply_async(function, (item,)) for item in items]
    return [result.get(DEADLINE) for result in results]


def _unordered(pool: Any, function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    numbered = functools.partial(_numbered, function)
    found = dict(pool.imap_unordered(numbered, list(enumerate(items)), 3))
    return [found[number] for number in range(len(items))]


def _numbered(function: Callable[[Any], Any], item: tuple[int, Any]) -> tuple[int, Any]:
    return item[0], function(item[1])


Run = Callable[[Any, Callable[[Any], Any], list[Any]], list[Any]]
STANDARD_FACES: dict[str, Run] = {
    "apply": lambda pool, function, items: [pool.apply(function, (item,)) for item in items],
    "apply-keyword": lambda pool, function, items: [
        pool.apply(_by_keyword, (function,), {"item": item}) for item in items
    ],
    "apply_async": _apply_async,
    "map": lambda pool, function, items: pool.map(function, items),
    "map-1": lambda pool, function, items: pool.map(function, items, 1),
    "map-all": lambda pool, function, items: pool.map(function, items, len(items)),
    "map_async": lambda pool, function, items: pool.map_async(function, items, 4).get(DEADLINE),
    "starmap": lambda pool, function, items: pool.starmap(function, [(item,) for item in items]),
    "imap": lambda pool, function, items: list(pool.imap(function, items)),
    "imap-5": lambda pool, function, items: list(pool.imap(function, iter(items), 5)),
    "imap_unordered": _unordered,
}
OUR_FACES: dict[str, Run] = {
    "submit": _submit,
    "outcomes": lambda pool, function, items: [outcome.value for outcome in pool.outcomes(function, items)],
}


def _by_keyword(function: Callable[[Any], Any], *, item: Any) -> Any:
    return function(item)


ALL_FACES = {**STANDARD_FACES, **OUR_FACES}
SOME_FACES = ("apply", "map", "map-1", "map-all", "starmap", "imap-5", "submit")  # each another way of pickling
faces = pytest.mark.parametrize("face", SOME_FACES)


@functools.cache
def _all_kinds() -> dict[str, Any]:
    return {f"{name}-{count}": make(count) for name, make in KINDS.items() for count in (SMALL, MIDDLE, BIG)}


@functools.cache
def _expected_facts() -> dict[str, Any]:
    return {name: facts(reference(item)) for name, item in _all_kinds().items()}


def _differing(expected: dict[str, Any], found: list[Any]) -> dict[str, Any]:
    pairs = zip(expected.items(), found, strict=True)
    return {name: (wanted, got) for (name, wanted), got in pairs if wanted != got}


@beyond
@faces
def test_a_worker_gets_what_a_pickle_would_give(one_pool: Any, face: str) -> None:
    """An argument of any kind and size arrives with the value, dtype, shape, strides and flags of a pickled copy."""
    found = ALL_FACES[face](one_pool, arrays.facts_of_one, list(_all_kinds().values()))
    assert _differing(_expected_facts(), found) == {}


@beyond
@faces
def test_a_caller_gets_what_a_pickle_would_give(one_pool: Any, face: str) -> None:
    """A result of any kind and size comes back with the value, dtype, shape, strides and flags of a pickled copy."""
    found = ALL_FACES[face](one_pool, arrays.same, list(_all_kinds().values()))
    assert _differing(_expected_facts(), [facts(value) for value in found]) == {}


@pytest.mark.not_in_stdlib("it pickles with an older protocol, which keeps less of the layout")
@copied
def test_every_kind_travels_whatever_the_start_method(pool: Any) -> None:
    """Arguments and results of any kind are as a pickle gives them, in workers that were started in any way."""
    items = list(_all_kinds().values())
    assert _differing(_expected_facts(), pool.map(arrays.facts_of_one, items)) == {}
    assert _differing(_expected_facts(), [facts(value) for value in pool.map(arrays.same, items)]) == {}


def test_values_are_equal_through_every_face(pool: Any, subject: Subject) -> None:
    """`f(x)` of arrays is the same wherever it is computed, small ones and big ones mixed."""
    items = [ramp(count, start) for start, count in enumerate([10, BIG, 1, 3 * BIG, MIDDLE, 100, BIG])]
    for name, run in (STANDARD_FACES if subject.is_stdlib else ALL_FACES).items():
        for item, found in zip(items, run(pool, tasks.double, items), strict=True):
            np.testing.assert_array_equal(found, 2 * item, name)
            assert type(found) is np.ndarray


@beyond
def test_no_size_is_special(one_pool: Any) -> None:
    """Values of sizes around those at which the way changes arrive as they are, alone, in chunks and in pairs."""
    lengths = [(1 << power) + more for power in (15, 16, 17, 18, 20) for more in (-129, -64, -1, 0, 1, 64)]
    for make in (bytes, bytearray, lambda n: np.ones(n, "i1"), lambda n: "x" * n):
        values = [make(length) for length in lengths]
        expected = [facts(value) for value in values]
        assert one_pool.map(arrays.facts_of_one, values) == expected
        assert [one_pool.apply(arrays.facts_of_one, (value,)) for value in values] == expected
        assert facts(one_pool.map(arrays.same, values)) == ("list", expected)
        assert [facts(one_pool.apply(arrays.same, (value,))) for value in values] == expected
        assert [a for a, _ in one_pool.starmap(arrays.facts_of, [(v, v) for v in values], 4)] == expected


@beyond
def test_the_warm_pool_takes_arrays() -> None:
    """`procession.map` gives and takes arrays, also of several iterables."""
    import procession

    items = [ramp(start=n) for n in range(5)]
    for item, found in zip(items, procession.map(tasks.double, items), strict=True):
        np.testing.assert_array_equal(found, 2 * item)
    for item, found in zip(items, procession.map(np.add, items, reversed(items)), strict=True):
        np.testing.assert_array_equal(found, ramp() * 2 + 4)
        assert len(item) == len(found)


# -------------------------------------------------------------------------------------------------------- containers


@copied
def test_containers_of_big_things_arrive_whole(pool: Any) -> None:
    """Nested containers and objects keep their structure around big arrays, bytes and text, in both directions."""
    big = ramp()
    value = {
        "several": [ramp(start=n) for n in range(7)],
        "nested": {"a": {"b": [big.reshape(8, -1), (bytes(BIG * 4), "x" * 200_000)]}, 1: bytearray(300_000)},
        "object": arrays.Holder(big[::2], more=np.asfortranarray(big.reshape(2, -1))),
        "small": [np.arange(3), {}, None, []],
    }
    expected = facts(reference(value))
    assert pool.apply(arrays.facts_of_one, (value,)) == expected
    assert pool.map(arrays.facts_of_one, [value, value]) == [expected, expected]
    assert facts(pool.apply(arrays.same, (value,))) == expected
    assert [facts(found) for found in pool.map(arrays.same, [value, value])] == [expected, expected]


@copied
def test_an_array_that_occurs_twice_in_an_item_is_one_object(pool: Any) -> None:
    """Identity within one item is kept, in both directions; equal arrays that are two stay two."""
    a, b = ramp(), ramp()
    item = [a, b, a, b, a.copy(), a]
    assert pool.apply(arrays.same_objects, (item,)) == [0, 1, 0, 1, 4, 0]
    assert pool.map(arrays.same_objects, [item, item[::-1]]) == [[0, 1, 0, 1, 4, 0], [0, 1, 2, 0, 2, 0]]
    assert pool.starmap(_are_same, [(a, a), (a, b)]) == [True, False]
    first, second = pool.apply(arrays.pair, (a,))
    assert first is second
    np.testing.assert_array_equal(first, a)


def _are_same(one: Any, other: Any) -> bool:
    return one is other


@beyond
def test_two_big_views_of_one_array_are_two_arrays(one_pool: Any) -> None:
    """Overlapping views arrive as arrays of their own, as a pickle makes them: writing in one leaves the other."""
    base = np.zeros(2 * BIG)
    for parts in ([base, base[:BIG]], [base[BIG:], base], [base[:BIG], base[BIG // 2 :]], [base, base.reshape(2, -1)]):
        assert one_pool.apply(arrays.scribble_in, (parts,)) == [0, 0]
        assert one_pool.map(arrays.scribble_in, [parts] * 3) == [[0, 0]] * 3
    assert not base.any()


@beyond
def test_a_hundred_thousand_small_arrays_are_one_value(one_pool: Any) -> None:
    """A list of very many small arrays, none of which is big, is a value like others, in both directions."""
    many = arrays.make_many_small(MANY)
    total = arrays.total_of_all(many)
    assert one_pool.map(arrays.total_of_all, [many]) == [total]
    found = one_pool.apply(arrays.make_many_small, (MANY,))
    assert len(found) == MANY
    assert arrays.total_of_all(found) == total


# ------------------------------------------------------------------------------------------------------- other kinds


def _views(count: int) -> dict[str, Any]:
    data = bytearray(range(256)) * (count // 32)
    return {
        "read-only": memoryview(bytes(data)),
        "writable": memoryview(data),
        "slice": memoryview(data)[8:-8],
        "strided": memoryview(data)[::2],
        "reversed": memoryview(data)[::-1],
        "double": memoryview(data).cast("d"),
        "bool": memoryview(data).cast("?"),
        "char": memoryview(data).cast("c"),
        "strided-double": memoryview(data).cast("d")[::2],
        "matrix": memoryview(data).cast("B").cast("d", (4, len(data) // 32)),
        "made-read-only": memoryview(data).toreadonly(),
        "of-array": memoryview(ramp(count)),
        "of-matrix": memoryview(ramp(count).reshape(4, -1)),
        "of-fortran": memoryview(np.asfortranarray(ramp(count).reshape(4, -1))),
        "of-columns": memoryview(ramp(count).reshape(4, -1)[:, ::2]),
        "0-d": memoryview(np.array(1.5)),
    }


@beyond
@sizes
def test_a_memoryview_arrives_as_a_memoryview(one_pool: Any, count: int) -> None:
    """Format, shape and bytes of a memoryview are kept, in both directions, and it is writable if it was."""
    views: dict[str, Any]
    for views in (_views(count), {"empty": memoryview(b"")}, {"empty-double": memoryview(b"").cast("d")}):
        expected = {name: facts(view) for name, view in views.items()}
        submitted = {name: one_pool.submit(arrays.facts_of_one, view) for name, view in views.items()}
        assert {name: task.exception(DEADLINE) or task.result() for name, task in submitted.items()} == expected
        back = one_pool.map(arrays.same, list(views.values()))
        assert {name: facts(view) for name, view in zip(views, back, strict=True)} == expected


@beyond
def test_a_memoryview_that_cannot_be_rebuilt_says_so(one_pool: Any) -> None:
    """A format that only the exporter knows is an error of the call, and the pool goes on."""
    for size in (10, 50_000):
        view = memoryview((arrays.Record * size)())
        with pytest.raises((pickle.PicklingError, TypeError, ValueError, NotImplementedError)):
            one_pool.apply(arrays.facts_of_one, (view,))
    assert one_pool.apply(tasks.double, (2,)) == 4


@unseen
@copied
def test_big_bytearrays_are_the_workers_own(pool: Any) -> None:
    """A bytearray can be written and resized in the worker, and is not changed here; so is one that comes back."""
    data = bytearray(300_000)
    assert pool.map(_grow, [data] * 6, 3) == [(b"", 300_003)] * 6
    assert pool.map(_grow, [data, bytearray(b"a" * 400_000)]) == [(b"", 300_003), (b"aaa", 400_003)]
    assert data == bytes(300_000)
    back = pool.apply(arrays.same, (data,))
    back += b"end"
    assert len(back) == 300_003


def _grow(data: bytearray) -> tuple[bytes, int]:
    before = bytes(data[:3]).strip(b"\0")
    data[:3] = b"new"
    data.extend(b"end")
    return before, len(data)


@beyond
def test_frames_of_pandas_travel(one_pool: Any) -> None:
    """A DataFrame arrives equal, with its dtypes and index, can be changed in the worker, and comes back."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"a": ramp(), "b": ramp().astype("i4"), "c": pd.date_range("2020", periods=BIG, freq="s")},
        index=pd.RangeIndex(5, 5 + BIG),
    )
    frame["text"] = "x"
    frame["kind"] = pd.Categorical(["odd", "even"] * (BIG // 2))
    for found in (one_pool.apply(arrays.same, (frame,)), *one_pool.map(arrays.same, [frame, frame])):
        pd.testing.assert_frame_equal(found, frame)
    assert one_pool.map(_change_frame, [frame] * 4, 2) == [0.0] * 4
    assert frame.loc[5, "a"] == 0


def _change_frame(frame: Any) -> float:
    before = float(frame.loc[5, "a"])
    frame.loc[5, "a"] = 7.0
    frame["more"] = frame["a"] + frame["b"]
    assert frame.loc[5, "more"] == 7
    return before


# ------------------------------------------------------------------------------------- writing in a worker's argument

ALL_THE_SAME: dict[str, Callable[[Any, Any, int], list[Any]]] = {
    "map": lambda pool, a, n: pool.map(arrays.scribble, [a] * n),
    "map-1": lambda pool, a, n: pool.map(arrays.scribble, [a] * n, 1),
    "map-all": lambda pool, a, n: pool.map(arrays.scribble, [a] * n, n),
    "starmap": lambda pool, a, n: pool.starmap(arrays.scribble, [(a, i) for i in range(n)]),
    "starmap-5": lambda pool, a, n: pool.starmap(arrays.scribble, [(a, i) for i in range(n)], 5),
    "imap": lambda pool, a, n: list(pool.imap(arrays.scribble, (a for _ in range(n)))),
    "imap-5": lambda pool, a, n: list(pool.imap(arrays.scribble, [a] * n, 5)),
    "imap_unordered": lambda pool, a, n: list(pool.imap_unordered(arrays.scribble, [a] * n, 2)),
    "map_async": lambda pool, a, n: pool.map_async(arrays.scribble, [a] * n).get(DEADLINE),
    "apply": lambda pool, a, n: [pool.apply(arrays.scribble, (a,)) for _ in range(n)],
    "apply_async": lambda pool, a, n: _apply_async(pool, arrays.scribble, [a] * n),
    "containers": lambda pool, a, n: [found[1] for found in pool.map(arrays.scribble_in, [[a.copy(), a]] * n)],
}


@beyond
@sizes
def test_what_a_task_writes_in_its_array_is_seen_by_nobody(one_pool: Any, count: int) -> None:
    """Tasks that get one array each find it as it was sent, however they are grouped, and so does the caller."""
    array = np.full(count, 5.0)
    wrong = {}
    for name, call in ALL_THE_SAME.items():
        found = [call(one_pool, array, 10) for _ in range(2)]
        assert arrays.uniform_value(array) == 5, name
        if found != [[5.0] * 10] * 2:
            wrong[name] = found
    assert wrong == {}


@unseen
@copied
def test_tasks_do_not_see_each_others_writing_whatever_the_start_method(pool: Any) -> None:
    """Tasks that get the same array each find it as it was, in workers that were started in any way."""
    array = np.full(BIG, 5.0)
    assert pool.map(arrays.scribble, [array] * 20) == [5.0] * 20
    assert _submit(pool, arrays.scribble, [array] * 20) == [5.0] * 20
    assert [outcome.value for outcome in pool.outcomes(arrays.scribble, [array] * 20)] == [5.0] * 20
    assert arrays.uniform_value(array) == 5


@copied
@pytest.mark.parametrize("carrier", ["argument", "partial"])
def test_writing_is_not_seen_while_the_writer_lives(make_pool: Callable[..., Any], gate: Gate, carrier: str) -> None:
    """While one task holds the array it has overwritten, another worker gets it as it was sent."""
    pool = make_pool(2)
    array = np.full(BIG, 5.0)
    if carrier == "partial":
        writer = pool.apply_async(functools.partial(arrays.write_and_wait, array=array), (gate,))
        gate.wait_arrived(1)
        assert pool.apply_async(functools.partial(_value_and_pid, array)).get(DEADLINE)[0] == 5
    else:
        writer = pool.apply_async(arrays.write_and_wait, (gate, array))
        gate.wait_arrived(1)
        assert pool.apply_async(_value_and_pid, (array,)).get(DEADLINE)[0] == 5
    assert arrays.uniform_value(array) == 5
    gate.open()
    assert writer.get(DEADLINE) != os.getpid()


def _value_and_pid(array: Any) -> tuple[Any, int]:
    return arrays.uniform_value(array), os.getpid()


@beyond
def test_a_big_argument_is_writable_and_aligned(one_pool: Any) -> None:
    """A task may write in its arrays, which begin at a multiple of 64 bytes."""
    items = [ramp(), ramp(BIG + 3).astype("f4"), ramp(3 * BIG).astype("i1"), np.asfortranarray(ramp().reshape(2, -1))]
    for name, run in ALL_FACES.items():
        assert run(one_pool, arrays.is_writable_and_aligned, items * 3) == [True] * 12, name


@beyond
def test_every_part_of_an_item_is_writable_and_aligned(one_pool: Any) -> None:
    """Each of several big arrays in one item is aligned, whatever the lengths of those before it."""
    parts = [np.zeros(200_001 + n, "u1") for n in range(5)]
    assert one_pool.apply(_all_aligned, (parts, {"bytes": bytes(200_003), "more": parts[::-1]}))
    assert one_pool.starmap(_all_aligned, [(parts, {})] * 4) == [True] * 4


def _all_aligned(parts: list[Any], more: dict[str, Any]) -> bool:
    return all(map(arrays.is_writable_and_aligned, parts + more.get("more", [])))


@beyond
@pytest.mark.parametrize("take", [slice(None), slice(10, 20), slice(-1, None)], ids=["whole", "some", "last"])
def test_what_a_worker_keeps_stays_as_it_is(one_worker: Any, take: slice) -> None:
    """A view that a worker keeps is unchanged while hundreds of other arrays come and go, from a first one on."""
    expected = []
    for number in range(3):
        kept = ramp(BIG, number)
        one_worker.apply(_keep_part, (kept, take))
        expected.append(kept[take].sum())
        for other in range(60):
            array = np.full(BIG, float(other))
            assert one_worker.apply(tasks.double, (array,))[0] == 2 * other
            one_worker.map(arrays.scribble, [array, kept] * 2)
        assert one_worker.apply(_kept_sums) == expected
    assert sum(one_worker.imap(arrays.uniform_value, (np.full(BIG, float(n)) for n in range(100)), 7)) == sum(
        range(100)
    )
    assert one_worker.apply(_kept_sums) == expected


def _keep_part(array: Any, take: slice) -> None:
    arrays.keep(array[take])


def _kept_sums() -> list[float]:
    return [part.sum() for part in arrays.kept]


@beyond
def test_what_a_worker_keeps_and_has_written_in_stays_so(one_worker: Any) -> None:
    """Kept arrays hold what their worker wrote in them, not what it got nor what comes later."""
    array = np.full(BIG, 5.0)
    for value in range(5):
        one_worker.apply(arrays.keep_and_write, (float(value), array))
        one_worker.starmap(arrays.keep_and_write, [(float(value), array)] * 2)
    for other in range(100):
        one_worker.apply(arrays.scribble, (np.full(BIG, float(other)),))
    expected = [facts(np.full(BIG, float(value))) for value in range(5) for _ in range(3)]
    assert one_worker.apply(arrays.kept_facts) == expected


@beyond
def test_what_a_task_left_running_keeps_is_its_own(one_worker: Any, gate: Gate) -> None:
    """An array that a thread of the worker still reads after its task has ended is not recycled under it."""
    array = np.full(BIG, 5.0)
    one_worker.apply(_read_later, (gate, array))
    for other in range(50):
        assert one_worker.apply(arrays.uniform_value, (np.full(BIG, float(other)),)) == other
    gate.open()
    eventually(lambda: one_worker.apply(arrays.kept_lists) == [5.0 * BIG])


def _read_later(gate: Gate, array: Any) -> None:
    import threading

    def read() -> None:
        gate.wait()
        arrays.kept.append(array.sum())

    threading.Thread(target=read, daemon=True).start()


# --------------------------------------------------------------------------- what the caller does after it has sent it


@copied
@unseen
def test_the_caller_may_reuse_its_array_at_once(make_pool: Callable[..., Any], gate: Gate) -> None:
    """Each task gets the array as it was when it was submitted, whatever is written in it meanwhile."""
    pool = make_pool(2)
    blockers = [pool.apply_async(tasks.through, (gate,)) for _ in range(2)]
    array = np.zeros(BIG)
    results = []
    for value in range(30):
        array.fill(value)
        results.append(pool.apply_async(arrays.uniform_value, (array,)))
    array.fill(-1)
    gate.open()
    for blocker in blockers:
        blocker.get(DEADLINE)
    assert [result.get(DEADLINE) for result in results] == list(range(30))


@beyond
@pytest.mark.parametrize("place", [0, BIG // 2, BIG - 1], ids=["first", "middle", "last"])
def test_a_single_changed_element_is_noticed(one_pool: Any, place: int) -> None:
    """An array in which one element changes between two calls arrives as it is, through every face."""
    array = np.zeros(BIG)

    def changing(count: int) -> Iterator[Any]:
        for number in range(count):
            array[place] = number
            yield array

    read = functools.partial(_element, place)
    assert list(one_pool.imap(read, changing(20))) == list(range(20))
    assert list(one_pool.imap(read, changing(20), 3)) == list(range(20))
    assert sorted(one_pool.imap_unordered(read, changing(20), 2)) == list(range(20))
    assert [outcome.value for outcome in one_pool.outcomes(read, changing(20))] == list(range(20))
    assert [task.result(DEADLINE) for task in [one_pool.submit(read, item) for item in changing(20)]] == list(range(20))
    assert [result.get() for result in [one_pool.map_async(read, [item] * 2) for item in changing(5)]] == [
        [n, n] for n in range(5)
    ]
    assert [one_pool.map(read, [item] * 3) for item in changing(5)] == [[n] * 3 for n in range(5)]


def _element(place: int, array: Any) -> Any:
    return array[place].item()


@beyond
def test_a_generator_may_yield_one_buffer_again_and_again(one_pool: Any) -> None:
    """Bytearrays and memoryviews on one buffer arrive with what was in them when they were yielded."""
    buffer = bytearray(300_000)

    def filled(wrap: Callable[[bytearray], Any]) -> Iterator[Any]:
        for number in range(20):
            buffer[-1] = number
            yield wrap(buffer)

    for wrap in (memoryview, lambda data: data, lambda data: np.frombuffer(data, "u1"), lambda data: [data]):
        assert list(one_pool.imap(_last, filled(wrap), 4)) == list(range(20))


def _last(data: Any) -> int:
    return int(data[0][-1] if isinstance(data, list) else data[-1])


@beyond
def test_a_sent_bytearray_can_be_resized_at_once(one_pool: Any) -> None:
    """Nothing holds on to the caller's buffer once the call has returned."""
    data = bytearray(300_000)
    for call in (
        lambda: one_pool.apply(arrays.facts_of_one, (data,)),
        lambda: one_pool.map(arrays.facts_of_one, [data] * 3),
        lambda: one_pool.starmap(arrays.facts_of, [(data, 1)] * 3),
        lambda: list(one_pool.imap(arrays.facts_of_one, [data] * 3)),
        lambda: one_pool.submit(arrays.facts_of_one, data).result(DEADLINE),
        lambda: one_pool.map_async(arrays.facts_of_one, [data] * 3).get(DEADLINE),
    ):
        call()
        data.append(1)
    with memoryview(data) as view:
        one_pool.map(arrays.facts_of_one, [view, view])
    data.append(1)


@beyond
def test_nothing_keeps_the_callers_array(one_pool: Any) -> None:
    """Once a call has ended, nobody but the caller refers to the array that was its argument."""
    import weakref

    class Traced(np.ndarray):  # type: ignore[misc]
        """Can be referred to weakly."""

    def sent(call: Callable[[Any], object]) -> Any:
        array = ramp()
        seen = weakref.ref(array)
        call(array)
        return seen

    seen = [
        sent(lambda array: one_pool.apply(arrays.ends, (array,))),
        sent(lambda array: one_pool.map(arrays.ends, [array] * 4)),
        sent(lambda array: list(one_pool.imap(arrays.ends, [array] * 4))),
        sent(lambda array: one_pool.submit(arrays.ends, array).result(DEADLINE)),
        sent(lambda array: one_pool.map(functools.partial(_add_to, array), [1, 2])),
    ]
    eventually(lambda: gc.collect() >= 0 and [ref() is None for ref in seen] == [True] * len(seen))


def _add_to(array: Any, number: float) -> Any:
    return array[:3] + number


# ------------------------------------------------------------------------------------------------------------ results


@unseen
@copied
def test_a_result_is_an_ordinary_array(pool: Any) -> None:
    """A result is a plain, writable ndarray; writing in it changes no other result, nor what comes later."""
    array = np.full(BIG, 5.0)
    results = [*pool.map(arrays.same, [array] * 4, 4), *pool.map(arrays.same, [array] * 4, 1)]
    results += [pool.apply(arrays.same, (array,)), *pool.imap(arrays.same, [array] * 2)]
    for result in results:
        assert type(result) is np.ndarray
        assert result.flags.writeable
        assert arrays.uniform_value(result) == 5
        result[...] = 7
        result.sort()
    assert arrays.uniform_value(array) == 5
    more = [pool.apply(arrays.make_filled, (float(n),)) for n in range(50)]
    assert [arrays.uniform_value(result) for result in more] == list(range(50))
    assert [arrays.uniform_value(result) for result in results] == [7] * len(results)


@copied
@pytest.mark.parametrize("ending", ["close", "terminate", pytest.param("kill", marks=hangs)])
def test_results_outlive_their_pool(make_pool: Callable[..., Any], ending: str) -> None:
    """Results are what they were, and can be written, after the end of the pool and of the workers."""
    pool = make_pool(2)
    results = [*pool.map(arrays.make_filled, range(6), 2), pool.apply(arrays.make_filled, (6,))]
    view = results[0][10:20]
    if ending == "kill":
        for worker in pool._pool:
            os.kill(worker.pid, signal.SIGKILL)
    else:
        getattr(pool, ending)()
    if ending == "close":
        pool.join()
    pool.terminate()
    pool.join()
    assert [arrays.uniform_value(result) for result in results] == list(range(7))
    for result in results:
        np.add(result, 1, out=result)
    del results[0], result
    assert [arrays.uniform_value(result) for result in results] == list(range(2, 8))
    assert arrays.uniform_value(view) == 1


@beyond
def test_results_stay_as_they_are_while_others_come(one_worker: Any) -> None:
    """Kept results, and views of them, are unchanged by hundreds that follow, kept and dropped by turns."""
    kept = {}
    for number in range(150):
        result = one_worker.apply(arrays.make_filled, (float(number),))
        assert arrays.uniform_value(result) == number
        if number % 5 == 0:
            kept[number] = result if number % 2 else result[100:200]
    for number, result in enumerate(one_worker.imap(arrays.make_filled, range(100), 3)):
        assert arrays.uniform_value(result) == number
    assert {number: arrays.uniform_value(result) for number, result in kept.items()} == {n: n for n in kept}


@beyond
@pytest.mark.parametrize("chunksize", [1, 10])
def test_a_result_is_taken_when_it_is_returned(one_worker: Any, chunksize: int) -> None:
    """A task that returns one array again and again, changed, gives each caller what it held at the time."""
    results = one_worker.map(arrays.return_and_go_on, range(10), chunksize)
    assert [arrays.uniform_value(result) for result in results] == list(range(10))
    assert [arrays.uniform_value(one_worker.apply(arrays.return_and_go_on, (n,))) for n in range(10)] == list(range(10))
    assert [arrays.uniform_value(result) for result in results] == list(range(10))


@copied
@beyond
def test_the_memory_of_results_goes_with_their_last_reference(make_pool: Callable[..., Any]) -> None:
    """After the pool's end no shared memory is left but that of results that are referred to, and then none."""
    before = arrays.mappings_here()
    pool = make_pool(2)
    results = pool.map(arrays.make_filled, range(10))
    last = results[-1][5:10]
    pool.terminate()
    pool.join()
    assert [arrays.uniform_value(result) for result in results] == list(range(10))
    del results
    assert arrays.mappings_here() <= before + 1
    assert arrays.uniform_value(last) == 9
    del last
    assert arrays.mappings_here() == before


@copied
def test_a_result_survives_a_fork_of_its_owner(pool: Any, subject: Subject, gate: Gate, queue: Any) -> None:
    """A child by fork reads the result as it was, while the parent writes in it and gets others."""
    if subject.method != "fork":
        pytest.skip("only a fork inherits the memory of its parent")
    result = pool.apply(arrays.make_filled, (5.0,))
    expected = facts(result)
    process = subject.context.Process(target=arrays.facts_through, args=(gate, queue, result))
    process.start()
    assert queue.get(timeout=DEADLINE) == expected
    result[...] = 6
    del result
    for number in range(30):
        assert arrays.uniform_value(pool.apply(arrays.make_filled, (float(number),))) == number
    gate.open()
    assert queue.get(timeout=DEADLINE) == expected
    process.join()
    process.close()


# ----------------------------------------------------------------------------------------- what else carries an array


@copied
def test_the_arguments_of_a_process(start: Callable[..., Any], queue: Any) -> None:
    """A Process gets its arguments, positional and by name, as a pickle gives them; the caller keeps its own."""
    big, small = ramp().reshape(4, -1), ramp(SMALL)
    parts = (big, small, [big, {"bytes": bytes(300_000)}], np.asfortranarray(big))
    expected = [facts(reference(part)) for part in parts]
    process = start(arrays.put_facts, queue, *parts)
    big[...] = -1
    assert queue.get(timeout=DEADLINE) == expected
    process.join(DEADLINE)
    assert process.exitcode == 0


@copied
@beyond
def test_the_arrays_of_a_process_are_its_own(start: Callable[..., Any], queue: Any) -> None:
    """A Process may write in its arrays, and keeps a bound instance and a closure's array; the caller sees nothing."""
    array = np.full(BIG, 5.0)

    def write_in_closure(queue: Any) -> None:
        array[...] = -1
        queue.put(float(array.sum()))

    for target, args in ((write_in_closure, (queue,)), (_scribble_and_put, (queue, array))):
        process = start(target, *args)
        queue.get(timeout=DEADLINE)
        process.join(DEADLINE)
        assert process.exitcode == 0
    assert arrays.uniform_value(array) == 5


def _scribble_and_put(queue: Any, array: Any) -> None:
    queue.put(arrays.scribble(array))


def test_arguments_of_the_initializer(make_pool: Callable[..., Any]) -> None:
    """Every worker's initializer gets the arrays of `initargs`, small and big."""
    for counts in ((SMALL, BIG), (MIDDLE, MIDDLE)):
        first, second = (ramp(count) for count in counts)
        pool = make_pool(2, tasks.set_state, ([first, {"b": second}],))
        assert pool.map(_sums_of_state, range(12), 1) == [(first.sum(), second.sum())] * 12


@beyond
def test_arguments_of_the_initializer_of_a_late_worker() -> None:
    """Workers that are started later, in the place of others, get the same arrays of `initargs`."""
    import procession

    array = ramp()
    with procession.Pool(2, tasks.set_state, ([array, {"b": array}],), maxtasksperchild=2) as pool:
        array[...] = 0  # what was given when the pool was made counts
        assert set(pool.map(_sums_of_state, range(12), 1)) == {(ramp().sum(), ramp().sum())}
    pool.join()


def _sums_of_state(_: object) -> tuple[float, float]:
    first, second = tasks.state
    return first.sum(), second["b"].sum()


def test_arrays_of_a_partial(pool: Any) -> None:
    """The arrays that a partial holds are there in every task, by position and by name."""
    for count in SIZES:
        array = ramp(count)
        function = functools.partial(_add_and_sum, array, other=array[::2])
        expected = [array.sum() + array[::2].sum() + n for n in range(10)]
        assert pool.map(function, range(10), 2) == expected
        assert [pool.apply(function, (n,)) for n in range(3)] == expected[:3]
        array[0] = 1000
        assert pool.map(function, [0]) == [expected[0] + 1000 + (1000 if count else 0)]


def _add_and_sum(array: Any, number: float, *, other: Any) -> float:
    return float(array.sum() + other.sum() + number)


def test_arrays_of_a_bound_methods_instance(pool: Any) -> None:
    """A bound method finds its instance's arrays in every task, as they are at the time of the call."""
    for count in SIZES:
        holder = arrays.Holder(ramp(count))
        total = ramp(count).sum()
        assert pool.map(holder.total, [1, 2, 3]) == [total, 2 * total, 3 * total]
        holder.raise_all(1)
        assert pool.apply(holder.total) == total + count
        holder.array = ramp(2 * count)
        assert pool.apply(holder.total, (2,)) == 2 * ramp(2 * count).sum()


@beyond  # functions by value
def test_arrays_of_a_closure(pool: Any) -> None:
    """A closure finds the arrays that it closes over, as they are at the time of the call."""
    for count in SIZES:
        array = ramp(count)
        nested = {"more": [array, bytes(300_000)]}
        function = _closing_over(array, nested)
        for _ in range(3):
            assert pool.map(function, range(5)) == [n + array[0] + ramp(count).sum() + 300_000 for n in range(5)]
            assert pool.submit(function, 1).result(DEADLINE) == function(1)
        array[0] = 1000
        expected = [function(n) for n in range(5)]
        assert pool.map(function, range(5)) == expected
        assert list(pool.imap(function, range(5), 2)) == expected


def _closing_over(array: Any, nested: Any) -> Callable[[int], float]:
    return lambda n: float(array[n] + nested["more"][0].sum() + len(nested["more"][1]))


@beyond
def test_an_array_of_the_function_that_changes_in_one_element(one_pool: Any) -> None:
    """However often the same function is sent with another content of its array, each call sees its own."""
    array = np.zeros(BIG)
    function = functools.partial(_element_of, array)
    for value in range(20):
        array[BIG // 2] = value
        assert one_pool.map(function, [BIG // 2] * 3) == [value] * 3
        assert one_pool.submit(function, BIG // 2).result(DEADLINE) == value


def _element_of(array: Any, place: int) -> Any:
    return array[place].item()


@beyond
@sizes
def test_an_error_may_carry_arrays(one_pool: Any, count: int) -> None:
    """The arrays of an exception come back with it, through every way of asking."""
    array = ramp(count)
    for call in (
        lambda: one_pool.apply(arrays.raise_with, (array,)),
        lambda: one_pool.map(arrays.raise_with, [array] * 3),
        lambda: list(one_pool.imap(arrays.raise_with, [array])),
        lambda: one_pool.apply_async(arrays.raise_with, (array,)).get(DEADLINE),
    ):
        with pytest.raises(arrays.CarriesArrayError) as caught:
            call()
        text, found = caught.value.args
        assert text == "on purpose"
        np.testing.assert_array_equal(found, array)
        np.testing.assert_array_equal(caught.value.half, array[: count // 2])
        assert "in raise_with" in str(caught.value.__cause__) or caught.value.__cause__ is None
    assert one_pool.apply(arrays.ends, (array,)) == (0, count - 1, count)


@beyond
def test_errors_with_arrays_stand_in_their_places(one_pool: Any) -> None:
    """With on_error="return" values and errors with arrays are mixed in one chunk, each with its own content."""
    items = [np.full(BIG, -float(n) if n % 3 == 0 and n else float(n)) for n in range(12)]
    found = one_pool.map(arrays.double_or_fail, items, 6, on_error="return")
    for number, result in enumerate(found):
        if number % 3 == 0 and number:
            assert type(result) is arrays.CarriesArrayError
            assert arrays.uniform_value(result.args[1]) == -number
        else:
            assert arrays.uniform_value(result) == 2 * number


@copied
@beyond
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_error_of_a_process_may_carry_arrays(start: Callable[..., Any], capfd: Any) -> None:
    """`Process.exception` has the arrays of the error, also after `close`."""
    array = ramp()
    process = start(arrays.raise_with, array)
    process.join(DEADLINE)
    assert process.exitcode == 1
    error = process.exception
    assert type(error) is arrays.CarriesArrayError
    np.testing.assert_array_equal(error.args[1], array)
    np.testing.assert_array_equal(error.half, array[: BIG // 2])
    process.close()
    assert arrays.ends(error.args[1]) == (0, BIG - 1, BIG)
    assert "CarriesArrayError" in capfd.readouterr().err
