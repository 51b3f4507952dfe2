"""What is shared on purpose is one memory in every process, wherever and however it was carried there."""

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
from tests.helpers.arrays import BIG, Holder, ramp
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate
from tests.helpers.scripts import Completed, Via

import procession

from .subjects import Subject

DEADLINE = 60
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.not_in_stdlib("shared_memory there must be named, closed and unlinked"),
]

processes = pytest.mark.needs_processes("it is about memory that processes share")
everywhere = pytest.mark.parametrize("via", list(Via), ids=lambda via: via.value)


@pytest.fixture
def sharer(no_leaks: None) -> Iterator[None]:
    """Put away what the standard library's queues and pipes need to hand out descriptors."""
    with arrays.without_resource_sharer():
        yield


# ---------------------------------------------------------------------------------------------------------- in itself


@pytest.mark.parametrize("shape", [5, (5,), (2, 3), (), (0,), (3, 0, 2), [2, 2], np.int64(4)], ids=repr)
def test_a_new_array_is_all_zeros(shape: Any) -> None:
    """`shared_array(shape)` is a writable ndarray of zeros, of floats unless a dtype is given."""
    expected = np.zeros(shape)
    array = procession.shared_array(shape)
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == (expected.shape, np.dtype(float))
    assert array.flags.writeable
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, expected)
    array[...] = 1
    assert array.sum() == expected.size


@pytest.mark.parametrize("dtype", ["i1", np.uint16, ">f8", "M8[s]", "S3", "U2", [("a", "i4"), ("b", "f8", 2)], bool])
def test_a_dtype_may_be_any_without_objects(dtype: Any) -> None:
    """`dtype` is what numpy takes, by position or by name."""
    for array in (procession.shared_array((2, 3), dtype), procession.shared_array((2, 3), dtype=dtype)):
        assert array.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(array, np.zeros((2, 3), dtype))


def test_what_cannot_be_shared_is_refused() -> None:
    """Objects of Python are a TypeError, negative lengths a ValueError, what is no shape a TypeError."""
    for dtype in (object, [("a", object)]):
        with pytest.raises(TypeError):
            procession.shared_array(3, dtype)
    with pytest.raises(ValueError):
        procession.shared_array(-1)
    with pytest.raises(ValueError):
        procession.shared_array((3, -2))
    for shape in ("a", 1.5, None):
        with pytest.raises(TypeError):
            procession.shared_array(shape)
    with pytest.raises(Exception, match="pickle"):
        procession.share(tasks.make_lock())


def test_more_memory_than_there_is_is_refused() -> None:
    """A size that the system cannot give is a MemoryError (or ValueError, as numpy's own), at the call."""
    with pytest.raises((MemoryError, ValueError)):
        procession.shared_array(1 << 62)
    with pytest.raises((MemoryError, ValueError)):
        procession.shared_array((1 << 40, 1 << 40))


@pytest.mark.parametrize("name", [name for name in arrays.KINDS if name != "objects"])
def test_share_makes_a_copy_of_any_array(name: str) -> None:
    """`share(array)` has the values, dtype and shape of the array, and is memory of its own."""
    array = arrays.KINDS[name](arrays.SMALL)
    if type(array) is not np.ndarray:
        pytest.skip("not an array")
    shared = procession.share(array)
    assert isinstance(shared, np.ndarray)
    assert (shared.shape, shared.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(shared, array)
    assert not np.shares_memory(shared, array)
    assert shared.flags.writeable
    assert procession.share(shared) is not shared
    assert not np.shares_memory(procession.share(shared), shared)


def test_what_is_computed_is_ordinary() -> None:
    """Results of arithmetic are plain arrays and scalars, in memory of their own; in place it stays what it is."""
    shared = procession.share(ramp(12).reshape(3, 4))
    computed = {
        "add": shared + 1,
        "radd": 1 + shared,
        "negate": -shared,
        "both": shared * shared,
        "sqrt": np.sqrt(shared),
        "compare": shared > 3,
        "sum": shared.sum(axis=0),
        "max": shared.max(axis=1),
        "dot": shared @ shared.T,
        "slice": shared[1:] + 1,
        "mean": shared.mean(axis=0),
    }
    assert {name: type(value) for name, value in computed.items()} == dict.fromkeys(computed, np.ndarray)
    assert [name for name, value in computed.items() if np.shares_memory(value, shared)] == []
    assert type(shared.sum()) is np.float64
    assert type(shared[0, 0]) is np.float64
    assert shared[0, 0] + 1 == 1
    before = shared
    shared += 1
    assert shared is before
    np.add(shared, 1, out=shared)
    out = np.empty((3, 4))
    assert np.add(shared, 0, out=out) is out
    np.testing.assert_array_equal(out, ramp(12).reshape(3, 4) + 2)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": lambda a: a.copy(),
    "np.array": np.array,
    "fancy": lambda a: a[[0, 2]],
    "mask": lambda a: a[a >= 0],
    "astype": lambda a: a.astype("f4"),
    "sort": np.sort,
    "concatenate": lambda a: np.concatenate([a, a]),
    "flatten": lambda a: a.flatten(),
    "take": lambda a: a.take([1, 2]),
    "cumsum": lambda a: a.cumsum(),
    "repeat": lambda a: a.repeat(2),
    "zeros_like": np.zeros_like,
    "arithmetic": lambda a: a + 1,
    "reshape-copies": lambda a: a.T.reshape(-1),
}


@processes
def test_a_copy_is_a_copy_also_in_a_worker(one_pool: Any) -> None:
    """What numpy copies is not shared: a worker's writing in it is not seen, and the shared array is not touched."""
    shared = procession.share(ramp(12).reshape(3, 4))
    for name, make in COPIES.items():
        copy = make(shared)
        before = np.array(copy)
        one_pool.apply(arrays.raise_elements, (copy, 100))
        np.testing.assert_array_equal(copy, before, name)
        np.testing.assert_array_equal(shared, ramp(12).reshape(3, 4), name)
        np.testing.assert_array_equal(one_pool.apply(arrays.same, (copy,)), before, name)


VIEWS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda a: a,
    "slice": lambda a: a[1:3],
    "empty-slice": lambda a: a[2:2],
    "end-slice": lambda a: a[4:],
    "row": lambda a: a[1],
    "column": lambda a: a[:, 2],
    "steps": lambda a: a[::2, 1::3],
    "reversed": lambda a: a[::-1, ::-1],
    "transposed": lambda a: a.T,
    "reshaped": lambda a: a.reshape(2, 2, 6),
    "raveled": lambda a: a.ravel(),
    "new-axis": lambda a: a[:, None],
    "0-d": lambda a: a[1:2, 1:2].reshape(()),
    "ellipsis": lambda a: a[1, 1, ...],
    "other-dtype": lambda a: a.view("i8"),
    "bytes": lambda a: a.view("u1")[:, 3],
    "diagonal": lambda a: a.reshape(-1)[::7],
    "view-of-view": lambda a: a[1:].T[2:, ::-1],
    "squeezed": lambda a: a[:1].squeeze(),
    "asarray-of-slice": lambda a: np.atleast_2d(a[0]),
}


@processes
def test_every_view_is_the_same_memory_in_a_worker(one_pool: Any) -> None:
    """A view arrives with its shape, strides and dtype; what is written in it stands in the array, and nothing else."""
    shared = procession.share(ramp(24).reshape(4, 6))
    wrong = []
    for name, take in VIEWS.items():
        shared[...] = ramp(24).reshape(4, 6)
        expected = np.array(shared)
        view, plain = take(shared), take(expected)
        assert (view.shape, view.strides, view.dtype) == (plain.shape, plain.strides, plain.dtype), name
        assert one_pool.apply(_form, (view,)) == (plain.shape, plain.strides, plain.dtype.str), name
        one_pool.apply(arrays.raise_elements, (view, 3))
        one_pool.map(arrays.raise_elements, [view])
        plain += 4
        back = one_pool.apply(arrays.same, (view,))
        assert back.shape == view.shape, name
        if not np.array_equal(shared, expected) or (view.size and not np.shares_memory(back, shared)):
            wrong.append(name)
    assert wrong == []


def _form(array: Any) -> Any:
    return array.shape, array.strides, array.dtype.str


@processes
def test_a_field_of_a_structured_array_is_shared(one_pool: Any) -> None:
    """A field is a view like others."""
    shared = procession.shared_array(10, [("number", "i4"), ("place", "f8", 2)])
    one_pool.apply(arrays.raise_elements, (shared["number"], 3))
    one_pool.apply(arrays.raise_elements, (shared["place"][::2], 1))
    assert shared["number"].tolist() == [3] * 10
    assert shared["place"].sum() == 10


@processes
def test_a_read_only_view_arrives_read_only(one_pool: Any) -> None:
    """The flag of a view is kept; the memory is seen nevertheless."""
    shared = procession.shared_array(5)
    view = shared[1:]
    view.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        one_pool.apply(arrays.raise_elements, (view,))
    shared[1] = 7
    assert one_pool.apply(arrays.to_list, (view,)) == [7, 0, 0, 0]


# ------------------------------------------------------------------------------------------------------- how it travels


def _closure(pool: Any, array: Any) -> None:
    def write(by: float) -> None:
        array[...] = array + by

    pool.map(write, [1])


CARRIERS: dict[str, Callable[[Any, Any], object]] = {
    "apply": lambda pool, a: pool.apply(arrays.raise_elements, (a,)),
    "keyword": lambda pool, a: pool.apply(arrays.raise_elements, (), {"array": a}),
    "apply_async": lambda pool, a: pool.apply_async(arrays.raise_elements, (a,)).get(DEADLINE),
    "submit": lambda pool, a: pool.submit(arrays.raise_elements, a).result(DEADLINE),
    "map": lambda pool, a: pool.map(arrays.raise_elements, [a]),
    "map_async": lambda pool, a: pool.map_async(arrays.raise_elements, [a]).get(DEADLINE),
    "starmap": lambda pool, a: pool.starmap(arrays.raise_elements, [(a, 1)]),
    "imap": lambda pool, a: list(pool.imap(arrays.raise_elements, iter([a]))),
    "imap_unordered": lambda pool, a: list(pool.imap_unordered(arrays.raise_elements, [a])),
    "outcomes": lambda pool, a: [outcome.value for outcome in pool.outcomes(arrays.raise_elements, [a])],
    "partial": lambda pool, a: pool.map(functools.partial(arrays.raise_elements, a), [1]),
    "partial-submit": lambda pool, a: pool.submit(functools.partial(arrays.raise_elements, array=a)).result(DEADLINE),
    "closure": _closure,
    "bound-method": lambda pool, a: pool.map(Holder(a).raise_all, [1]),
    "instance": lambda pool, a: pool.apply(Holder.raise_all, (Holder(a), 1)),
    "nested": lambda pool, a: pool.map(_raise_nested, [{"x": [(ramp(BIG), {"y": a}), bytes(300_000)]}]),
    "with-a-lambda": lambda pool, a: pool.apply(_raise_with, (a, lambda x: x + 1)),
}


def _raise_nested(value: Any) -> None:
    value["x"][0][1]["y"] += 1


def _raise_with(array: Any, function: Callable[[Any], Any]) -> None:
    array[...] = function(array)


@processes
def test_what_a_worker_writes_is_seen(pool: Any) -> None:
    """However a shared array comes to a worker, what is written in it there is seen here, and the other way."""
    shared = procession.shared_array(BIG)
    for count, (name, call) in enumerate(CARRIERS.items(), 1):
        call(pool, shared)
        assert arrays.uniform_value(shared) == count, name
        assert pool.apply(arrays.uniform_value, (shared,)) == count, name
    shared[...] = 100
    assert pool.map(arrays.uniform_value, [shared] * 6, 3) == [100] * 6


@processes
@pytest.mark.parametrize("chunksize", [1, 5, 50])
def test_items_of_one_map_write_in_one_array(one_pool: Any, chunksize: int) -> None:
    """Each item writes in its own place, by the same array or by its own slice, and all are there at the end."""
    shared = procession.shared_array((50, 1000))
    one_pool.starmap(arrays.set_element, [(shared, n, n) for n in range(50)], chunksize)
    np.testing.assert_array_equal(shared[:, 3], range(50))
    one_pool.map(arrays.raise_elements, [shared[n] for n in range(50)], chunksize)
    np.testing.assert_array_equal(shared[:, 5], range(1, 51))
    list(one_pool.imap(arrays.raise_elements, (shared[n : n + 10] for n in range(0, 50, 10)), chunksize))
    np.testing.assert_array_equal(shared[:, 7], range(2, 52))


@processes
def test_several_in_one_item_keep_their_identities(one_pool: Any) -> None:
    """Shared arrays, views of them and ordinary arrays in one item arrive each as what it is."""
    a, b, plain = procession.shared_array(10), procession.shared_array(10, int), np.zeros(BIG)
    one_pool.apply(_write_in_all, ([a, b, a[5:], plain, {"again": a}],))
    assert a.tolist() == [1] * 5 + [2] * 5
    assert b.tolist() == [7] * 10
    assert not plain.any()


def _write_in_all(parts: list[Any]) -> None:
    a, b, half, plain, more = parts
    assert more["again"] is a
    assert np.shares_memory(a, half)
    a += 1
    b += 7
    half += 1
    plain += 1


@processes
@pytest.mark.usefixtures("sharer")
def test_hundreds_in_one_item(one_pool: Any) -> None:
    """An item may hold more shared arrays than one message can carry descriptors."""
    many = [procession.shared_array(3) for _ in range(600)]
    for count in (100, 253, 254, 600):
        one_pool.apply(_raise_each, (many[:count],))
        assert [array[0] for array in many[:count]] == [1.0] * count
        for array in many:
            array[...] = 0
    assert one_pool.map(arrays.to_list, many) == [[0, 0, 0]] * 600


def _raise_each(parts: list[Any]) -> None:
    for part in parts:
        part[...] = part + 1


@processes
def test_arguments_of_the_initializer_are_shared(make_pool: Callable[..., Any]) -> None:
    """An array of `initargs` is one memory in all workers."""
    shared = procession.shared_array((4, 1000))
    pool = make_pool(2, tasks.set_state, (shared,))
    pool.map(_set_row_of_state, range(4), 1)
    assert shared[:, 0].tolist() == [1, 2, 3, 4]
    shared[...] = 9
    assert pool.map(_value_of_state, range(6), 1) == [9] * 6


def _set_row_of_state(row: int) -> None:
    tasks.state[row] = row + 1


def _value_of_state(_: object) -> Any:
    return arrays.uniform_value(tasks.state)


@processes
def test_arguments_of_a_process_are_shared(start: Callable[..., Any]) -> None:
    """Several Processes write in one array that they got as an argument, in a container, a closure, an instance."""
    shared = procession.shared_array((5, BIG))
    targets: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (arrays.raise_elements, (shared[0],)),
        (_raise_nested, ({"x": [(ramp(BIG), {"y": shared[1]}), 1]},)),
        (lambda: arrays.raise_elements(shared[2]), ()),
        (functools.partial(arrays.raise_elements, shared[3]), ()),
        (Holder(shared[4]).raise_all, (1,)),
    ]
    children = [start(target, *args) for target, args in targets]
    for child in children:
        child.join(DEADLINE)
        assert child.exitcode == 0
    assert shared[:, 0].tolist() == [1] * 5
    assert arrays.uniform_value(shared) == 1


@processes
def test_both_sides_see_each_others_writing_at_once(start: Callable[..., Any], subject: Subject, gate: Gate) -> None:
    """What is written is seen while both run, not only at the end."""
    shared = procession.shared_array(BIG)
    child = start(_answer, shared, gate)
    shared[0] = 5
    gate.open()
    eventually(lambda: shared[-1] == 6)
    child.join(DEADLINE)
    assert child.exitcode == 0


def _answer(shared: Any, gate: Gate) -> None:
    gate.wait()
    shared[-1] = shared[0] + 1


@processes
def test_a_result_may_be_shared(pool: Any) -> None:
    """A shared array that a worker got comes back as the same memory; one that it made is shared from then on."""
    shared = procession.shared_array(BIG)
    for back in (pool.apply(arrays.same, (shared,)), *pool.map(arrays.same, [shared, shared[:10]], 2)):
        assert np.shares_memory(back, shared)
        back[0] += 1
    assert shared[0] == 3
    made = pool.apply(_make_shared, (5.0,))
    assert arrays.uniform_value(made) == 5
    pool.map(arrays.raise_elements, [made[:10], made[10:]], 1)
    assert arrays.uniform_value(made) == 6
    nested = pool.map(_make_in_dict, [1.0, 2.0, 3.0])
    pool.starmap(arrays.raise_elements, [(each["made"], 10) for each in nested])
    assert [arrays.uniform_value(each["made"]) for each in nested] == [11, 12, 13]


def _make_shared(value: float) -> Any:
    made = procession.shared_array(BIG)
    made[...] = value
    return made


def _make_in_dict(value: float) -> Any:
    return {"made": _make_shared(value), "plain": ramp(BIG)}


@processes
def test_a_worker_and_the_caller_share_what_the_worker_made(one_worker: Any) -> None:
    """What a worker made and kept is the memory that the caller got."""
    made = one_worker.apply(_make_and_keep)
    made[3] = 7
    assert one_worker.apply(arrays.kept_apply, (arrays.to_list,))[3] == 7
    one_worker.apply(arrays.kept_apply, (arrays.raise_elements,))
    assert made[3] == 8


def _make_and_keep() -> Any:
    arrays.keep(procession.shared_array(10))
    return arrays.kept[-1]


@processes
def test_an_error_may_carry_shared_memory(one_pool: Any) -> None:
    """A shared array in an exception is the same memory when it comes back."""
    shared = procession.shared_array(BIG)
    with pytest.raises(arrays.CarriesArrayError) as caught:
        one_pool.apply(arrays.raise_with, (shared,))
    caught.value.args[1][0] = 5
    assert shared[0] == 5


@processes
@pytest.mark.usefixtures("sharer")
def test_a_queue_carries_shared_memory_both_ways(subject: Subject, start: Callable[..., Any], gate: Gate) -> None:
    """An array on a Queue of the same library is the same memory at the other end, views too."""
    there, back = subject.context.Queue(), subject.context.Queue()
    shared = procession.shared_array((4, BIG))
    child = start(_serve_queue, there, back, gate)
    there.put(shared)
    there.put({"view": shared[1:, ::-1]})
    there.put(None)
    views = [back.get(timeout=DEADLINE) for _ in range(3)]
    assert shared[:, 0].tolist() == [1, 2, 2, 2]
    assert np.shares_memory(views[0], shared)
    assert np.shares_memory(views[1]["view"], shared)
    made = views[2]
    assert arrays.uniform_value(made) == 5
    made[0] = 6
    gate.open()
    child.join(DEADLINE)
    assert child.exitcode == 0
    assert made[-1] == 7
    for queue in (there, back):
        queue.close()
        queue.join_thread()


def _serve_queue(there: Any, back: Any, gate: Gate) -> None:
    whole = there.get()
    whole += 1
    part = there.get()
    part["view"] += 1
    assert there.get() is None
    made = _make_shared(5)
    for value in (whole, part, made):
        back.put(value)
    gate.wait()
    assert made[0] == 6
    made[-1] = 7


@processes
@pytest.mark.usefixtures("sharer")
def test_a_pipe_carries_shared_memory_both_ways(subject: Subject, start: Callable[..., Any]) -> None:
    """An array sent through a Pipe of the same library is the same memory at the other end."""
    ours, theirs = subject.context.Pipe()
    shared = procession.shared_array(BIG)
    child = start(tasks.echo, theirs)
    theirs.close()
    with ours:
        for sent in (shared, shared[5:10], {"a": [shared]}):
            ours.send(sent)
            back = ours.recv()
            back = back["a"][0] if isinstance(back, dict) else back
            assert np.shares_memory(back, shared)
            back[0] += 1
        ours.send(None)
        child.join(DEADLINE)
    assert child.exitcode == 0
    assert (shared[0], shared[5]) == (2, 1)


@pytest.mark.usefixtures("sharer")
def test_a_plain_pickle_is_a_handle_in_the_same_process() -> None:
    """What `pickle` makes of a shared array, read by the process that has it, is the same memory."""
    shared = procession.shared_array(10)
    again = pickle.loads(pickle.dumps(shared[2:5]))
    again += 1
    assert shared.tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]


# -------------------------------------------------------------------------------------------------------- in scripts


@everywhere
def test_a_global_of_main_is_shared(script: Callable[..., Completed], via: Via) -> None:
    """Functions of `__main__` write in the shared array that is a global of it, in tasks and in Processes."""
    run = script(
        """
        import procession
        total = procession.shared_array((3, 4), dtype=int)
        row = total[2]
        def work(i):
            total[0, i] = i + 1
            row[i] += 10
        def child():
            total[1] = 7
        with procession.Pool(2) as pool:
            pool.map(work, range(4), 1)
        process = procession.Process(target=child)
        process.start()
        process.join()
        print("=>", total.tolist(), process.exitcode)
        total[0] = 0
        print("=>", procession.map(lambda i: int(total[1, i] + total[0, i]), range(4)))
        """,
        via,
    )
    said = [line.removeprefix("=> ") for line in run.check().lines if line.startswith("=> ")]
    assert said == ["[[1, 2, 3, 4], [7, 7, 7, 7], [10, 10, 10, 10]] 0", "[7, 7, 7, 7]"]


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_global_handle_of_main_is_shared(script: Callable[..., Completed], method: str) -> None:
    """A handle made by `share` is a global like others, whatever the start method."""
    run = script(
        f"""
        import numpy as np
        import procession
        context = procession.get_context({method!r})
        data = procession.share({{"a": np.zeros(100_000), "name": "n"}})
        def work(i):
            data.value["a"][i] = i
            return data.value["name"]
        with context.Pool(2) as pool:
            print(pool.map(work, range(5), 1))
        print(data.value["a"][:6].tolist())
        """,
    )
    assert run.check().lines == ["['n', 'n', 'n', 'n', 'n']", "[0.0, 1.0, 2.0, 3.0, 4.0, 0.0]"]


# ------------------------------------------------------------------------------------------------------------ counters


@processes
def test_a_counter_under_a_lock_is_exact(make_pool: Callable[..., Any], subject: Subject) -> None:
    """Workers that add under a lock, both from `initargs`, lose no addition."""
    counter = procession.shared_array(1, int)
    pool = make_pool(3, tasks.set_state, ((subject.context.Lock(), counter),))
    pool.map(_count_up, [100] * 12, 1)
    assert counter[0] == 1200


def _count_up(times: int) -> None:
    lock, counter = tasks.state
    arrays.count_up_shared(lock, counter, times)


@processes
def test_processes_that_count_under_a_lock_are_exact(start: Callable[..., Any], subject: Subject) -> None:
    """Processes that add under a lock, both arguments, lose no addition."""
    counter, lock = procession.shared_array(1, int), subject.context.Lock()
    children = [start(arrays.count_up_shared, lock, counter, 500) for _ in range(3)]
    for child in children:
        child.join(DEADLINE)
        assert child.exitcode == 0
    assert counter[0] == 1500


# ---------------------------------------------------------------------------------------------------------- how long


def _gone(before: int) -> None:
    eventually(lambda: arrays.mappings_here() == before)


def test_memory_goes_with_the_last_array() -> None:
    """When nobody refers to a shared array or to a view of it, nothing of it is left in this process."""
    before, open_before = arrays.mappings_here(), arrays.descriptors()
    shared = procession.shared_array(BIG)
    handle = procession.share({"a": ramp(BIG)})
    view, part = shared[5:10].T[::-1], handle.value["a"][3:5]
    del shared, handle
    gc.collect()
    view[0] = 1
    assert part.tolist() == [3, 4]
    assert arrays.mappings() == before + 2
    del view
    assert arrays.mappings_here() == before + 1
    del part
    _gone(before)
    assert arrays.descriptors() == open_before


@processes
def test_it_lives_as_long_as_anyone_has_it(one_worker: Any) -> None:
    """After its creator has dropped it a worker's one still works; when that is dropped, too, the memory is gone."""
    one_worker.apply(tasks.pid)
    before = arrays.mappings_here()
    shared = procession.share(ramp(BIG))
    pid = one_worker.apply(tasks.pid)
    one_worker.apply(arrays.keep, (shared[10:20],))
    with_one = one_worker.apply(arrays.mappings_here)
    del shared
    _gone(before)
    one_worker.apply(arrays.kept_apply, (arrays.raise_elements,))
    assert one_worker.apply(arrays.kept_lists) == [list(range(11, 21))]
    back = one_worker.apply(arrays.kept_apply, (arrays.same,))
    back[0] = 100
    assert one_worker.apply(arrays.kept_lists)[0][0] == 100
    del back
    _gone(before)
    one_worker.apply(arrays.drop_kept)
    eventually(lambda: arrays.mappings(pid) < with_one)


@processes
def test_it_outlives_its_creator(make_pool: Callable[..., Any]) -> None:
    """What a worker has made is whole after the worker was killed, and after the pool's end."""
    before = arrays.mappings_here()
    pool = make_pool(1)
    made: Any = [pool.apply(_make_shared, (float(n),)) for n in range(3)]
    os.kill(pool._pool[0].pid, signal.SIGKILL)
    assert pool.map(arrays.uniform_value, made) == [0, 1, 2]
    pool.terminate()
    pool.join()
    for array in made:
        array[0] += 1
    assert [array[:2].tolist() for array in made] == [[1, 0], [2, 1], [3, 2]]
    del made, array
    _gone(before)


@processes
def test_a_thousand_come_and_go(one_pool: Any) -> None:
    """Shared arrays that are made, sent and dropped one after another leave nothing in any process."""
    one_pool.map(tasks.pid, range(20), 1)
    before, open_before = arrays.mappings_here(), arrays.descriptors()
    for number in range(1000):
        shared = procession.shared_array(100)
        one_pool.apply(arrays.raise_elements, (shared, number))
        assert shared[-1] == number
    del shared
    _gone(before)
    eventually(lambda: arrays.descriptors() <= open_before)
    eventually(lambda: max(one_pool.map(arrays.mappings_here, range(4), 1)) < 10)


@processes
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_worker_lets_go_of_what_it_has_read(one_worker: Any, busy: bool) -> None:
    """Memory that the caller has dropped is freed though the last worker that had it has nothing, or much, to do."""
    pid = one_worker.apply(tasks.pid)
    before = arrays.mappings(pid)
    shared = procession.shared_array(BIG)
    one_worker.apply(arrays.raise_elements, (shared,))
    del shared
    eventually(lambda: (busy and one_worker.apply(tasks.double, (1,)) == 0) or arrays.mappings(pid) <= before, 5)


# ------------------------------------------------------------------------------------------------- what is no array

OBJECTS: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"a": np.zeros(BIG), "b": [np.zeros(BIG, int), "text"], "c": None},
    "small": lambda: {"a": np.zeros(3), "b": [np.zeros(4), "text"], "c": None},
    "object": lambda: {"a": np.zeros(BIG), "b": [np.zeros(BIG // 2), Holder(ramp(BIG))], "c": bytes(300_000)},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_handle_has_the_value(name: str) -> None:
    """`share(obj).value` equals the object, is a copy of it, and always the same memory."""
    obj = OBJECTS[name]()
    handle = procession.share(obj)
    assert arrays.facts(handle.value) == arrays.facts(obj)
    assert not np.shares_memory(handle.value["a"], obj["a"])
    if name != "small":
        assert np.shares_memory(handle.value["a"], handle.value["a"])
    handle.value["a"][0] = 7
    assert handle.value["a"][0] == 7
    assert obj["a"][0] == 0


HANDLED: dict[str, Callable[[Any, Any], object]] = {
    "apply": lambda pool, h: pool.apply(_raise_value, (h,)),
    "map": lambda pool, h: pool.map(_raise_value, [h]),
    "starmap": lambda pool, h: pool.starmap(_raise_value, [(h,)]),
    "imap": lambda pool, h: list(pool.imap(_raise_value, [h])),
    "nested": lambda pool, h: pool.apply(_raise_first, ([h, ramp(BIG)],)),
    "partial": lambda pool, h: pool.apply(functools.partial(_raise_value, h)),
    "closure": lambda pool, h: pool.apply(lambda: _raise_value(h)),
    "instance": lambda pool, h: pool.apply(_raise_held, (Holder(h),)),
    "back": lambda pool, h: _raise_value(pool.apply(arrays.same, (h,))),
}


def _raise_value(handle: Any) -> None:
    handle.value["a"][...] += 1


def _raise_first(parts: list[Any]) -> None:
    _raise_value(parts[0])


def _raise_held(holder: Holder) -> None:
    _raise_value(holder.array)


@processes
def test_a_handle_is_one_memory_everywhere(pool: Any) -> None:
    """However a handle comes to a worker, what is written in its value there is seen here, and the other way."""
    handle = procession.share({"a": np.zeros(BIG), "b": "text"})
    for count, (name, call) in enumerate(HANDLED.items(), 1):
        call(pool, handle)
        assert arrays.uniform_value(handle.value["a"]) == count, name
    handle.value["a"][...] = 50
    assert pool.map(_value_of_handle, [handle] * 4, 2) == [(50, "text")] * 4


def _value_of_handle(handle: Any) -> Any:
    return arrays.uniform_value(handle.value["a"]), handle.value["b"]


@processes
def test_a_handle_is_an_argument_of_processes_and_initializers(
    make_pool: Callable[..., Any], start: Callable[..., Any]
) -> None:
    """`initargs` and `Process(args=)` take handles, and a worker may make one."""
    handle = procession.share({"a": np.zeros(BIG)})
    pool = make_pool(2, tasks.set_state, (handle,))
    pool.map(_raise_state, range(1), 1)
    child = start(_raise_value, handle)
    child.join(DEADLINE)
    assert arrays.uniform_value(handle.value["a"]) == 2
    made = pool.apply(_make_handle)
    pool.apply(_raise_value, (made,))
    assert arrays.uniform_value(made.value["a"]) == 6


def _raise_state(_: object) -> None:
    _raise_value(tasks.state)


def _make_handle() -> Any:
    return procession.share({"a": np.full(BIG, 5.0)})


@processes
@pytest.mark.usefixtures("sharer")
def test_a_queue_carries_handles(subject: Subject, start: Callable[..., Any], queue: Any, gate: Gate) -> None:
    """A handle on a Queue is the same memory at the other end."""
    handle = procession.share({"a": np.zeros(BIG)})
    child = start(_raise_from, queue, gate)
    queue.put(handle)
    gate.open()
    child.join(DEADLINE)
    assert child.exitcode == 0
    assert arrays.uniform_value(handle.value["a"]) == 1


def _raise_from(queue: Any, gate: Gate) -> None:
    gate.wait()
    _raise_value(queue.get())


@processes
def test_a_value_is_built_without_copying(one_worker: Any) -> None:
    """The value of a handle, and its parts, are in the shared memory: none of it is copied by those who read it."""
    count = 4_000_000  # 32 MB each
    handle = procession.share([np.zeros(count), np.zeros(count)])
    one_worker.apply(arrays.keep, (handle,))
    before = one_worker.apply(_private_bytes)
    assert one_worker.apply(arrays.kept_apply, (_sum_value,)) == 0
    assert one_worker.apply(_private_bytes) - before < 8_000_000
    handle.value[1][-1] = 5
    assert one_worker.apply(arrays.kept_apply, (_sum_value,)) == 5


def _sum_value(handle: Any) -> float:
    return float(sum(array.sum() for array in handle.value))


def _private_bytes() -> int:
    import psutil

    gc.collect()
    info = psutil.Process().memory_full_info()
    return int(info.uss)


@processes
def test_a_value_outlives_its_handle(one_worker: Any) -> None:
    """Who has taken a part of the value may drop the handle."""
    part = procession.share({"a": ramp(BIG)}).value["a"][:5]
    gc.collect()
    part += 1
    assert part.tolist() == [1, 2, 3, 4, 5]
    one_worker.apply(_keep_part_of, (procession.share({"a": ramp(BIG)}),))
    assert one_worker.apply(arrays.kept_lists) == [[0, 1, 2]]


def _keep_part_of(handle: Any) -> None:
    arrays.keep(handle.value["a"][:3])


@processes
def test_a_handle_on_an_object_with_shared_arrays_in_it(one_pool: Any) -> None:
    """A shared array in a shared object stays what it is: one memory, also after all but the handle is gone."""
    inner = procession.shared_array(10)
    handle = procession.share({"a": np.zeros(BIG), "inner": inner[2:]})
    one_pool.apply(_raise_inner, (handle,))
    assert inner.tolist() == [0, 0] + [1] * 8
    del inner
    gc.collect()
    one_pool.apply(_raise_inner, (handle,))
    assert handle.value["inner"].tolist() == [2] * 8


def _raise_inner(handle: Any) -> None:
    handle.value["inner"][...] += 1


@processes
def test_frames_of_pandas_can_be_shared(one_pool: Any) -> None:
    """A shared DataFrame is equal to its original, and its numbers are one memory in all processes."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": ramp(BIG), "b": ramp(BIG, 5)})
    handle = procession.share(frame)
    pd.testing.assert_frame_equal(handle.value, frame)
    assert one_pool.map(_sum_frame, [handle] * 3) == [frame["a"].sum()] * 3
    values = handle.value.to_numpy(copy=False)
    if values.flags.writeable:
        values[0, 0] = 1000
        assert one_pool.apply(_sum_frame, (handle,)) == frame["a"].sum() + 1000


def _sum_frame(handle: Any) -> float:
    return float(handle.value["a"].sum())
