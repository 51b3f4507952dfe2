"""What a Pool's calls promise: values, order, errors."""

from __future__ import annotations

import functools
import math
import operator
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]
from typing import Any

import pytest
from tests.helpers import bombs, tasks
from tests.helpers.gates import Gate, Notes

from .subjects import Subject

DEADLINE = 60


# ------------------------------------------------------------------------------------------------- values and order


def test_apply_returns_what_the_function_returned(pool: Any) -> None:
    """`apply(f, args, kwds)` is `f(*args, **kwds)`."""
    assert pool.apply(tasks.add, (1, 2), {"z": 3}) == 6
    assert pool.apply(tasks.add, (1,)) == 1
    assert pool.apply(func=tasks.add, args=[1, 2], kwds={"z": 4}) == 7


@pytest.mark.needs_processes("in the caller's process there is no other pid")
def test_work_is_done_in_other_processes(pool: Any) -> None:
    """A task never runs in the process that asks for it."""
    assert os.getpid() not in set(pool.map(tasks.pid, range(8), 1))


def test_apply_async_returns_at_once_and_gives_the_value_later(pool: Any) -> None:
    """`apply_async(f, args, kwds).get()` is `f(*args, **kwds)`."""
    results = [pool.apply_async(tasks.add, (n, 1), {"z": 1}) for n in range(10)]
    assert [result.get(DEADLINE) for result in results] == [n + 2 for n in range(10)]


@pytest.mark.parametrize("chunksize", [None, 1, 3, 10, 1000])
def test_map_keeps_the_order_for_any_chunksize(pool: Any, chunksize: int | None) -> None:
    """`map(f, xs, chunksize)` is `[f(x) for x in xs]`, however the items are grouped."""
    assert pool.map(tasks.double, range(23), chunksize) == [2 * n for n in range(23)]
    assert pool.map(tasks.double, range(23), chunksize=chunksize) == [2 * n for n in range(23)]


@pytest.mark.parametrize(
    "items",
    [[1, 2, 3], (1, 2, 3), range(1, 4), {1: "a", 2: "b", 3: "c"}, "123"],
    ids=["list", "tuple", "range", "dict", "str"],
)
def test_map_takes_any_sized_iterable(pool: Any, items: Any) -> None:
    """`map` takes whatever `list` takes."""
    assert pool.map(tasks.double, items) == [tasks.double(item) for item in items]


def test_map_takes_an_iterable_without_a_length(pool: Any) -> None:
    """`map` takes a generator."""
    assert pool.map(tasks.double, (n for n in range(10))) == [2 * n for n in range(10)]
    assert pool.map(tasks.double, iter([])) == []


def test_map_async_gives_the_whole_list(pool: Any) -> None:
    """`map_async(f, xs).get()` is `map(f, xs)`."""
    assert pool.map_async(tasks.double, range(10)).get(DEADLINE) == [2 * n for n in range(10)]
    assert pool.map_async(tasks.double, iter(range(10)), 3).get(timeout=DEADLINE) == [2 * n for n in range(10)]


def test_nothing_to_do_gives_an_empty_list(pool: Any) -> None:
    """Every mapping of nothing is complete at once, and empty."""
    assert pool.map(tasks.double, []) == []
    assert pool.starmap(tasks.add, []) == []
    result = pool.map_async(tasks.double, [])
    assert result.get(DEADLINE) == []
    assert result.ready()
    assert result.successful()
    assert pool.starmap_async(tasks.add, []).get(DEADLINE) == []
    assert list(pool.imap(tasks.double, [])) == []
    assert list(pool.imap_unordered(tasks.double, [])) == []


def test_starmap_unpacks_each_item(pool: Any) -> None:
    """`starmap(f, xs)` is `[f(*x) for x in xs]`, and starmap_async gives the same later."""
    pairs = [(n, n + 1) for n in range(12)]
    expected = [2 * n + 1 for n in range(12)]
    assert pool.starmap(tasks.add, pairs) == expected
    assert pool.starmap(tasks.add, iter(pairs), chunksize=5) == expected
    assert pool.starmap_async(tasks.add, pairs, 2).get(DEADLINE) == expected
    assert pool.starmap(tasks.add, [[1], [1, 2]]) == [1, 3]


@pytest.mark.parametrize("function", [math.sqrt, operator.itemgetter(0), functools.partial(tasks.add, 1, z=2), "".join])
def test_any_picklable_callable_will_do(pool: Any, function: Callable[[Any], Any]) -> None:
    """Builtins, callable objects, partials and bound methods are tasks like others."""
    item: Any = [["a", "b"]] if not isinstance(function, functools.partial) and function is not math.sqrt else [4]
    assert pool.map(function, item) == [function(item[0])]


def test_big_values_travel_in_both_directions(pool: Any) -> None:
    """Values far larger than a pipe's buffer arrive whole, many at a time."""
    blobs = [bytes([n]) * 1_500_000 for n in range(6)]
    assert pool.map(tasks.double, blobs, 1) == [blob * 2 for blob in blobs]
    assert len(pool.apply(tasks.make_bytes, (3_000_000,))) == 3_000_000


def test_many_small_tasks_all_come_back(pool: Any) -> None:
    """Thousands of queued tasks are all answered, each with its own value."""
    results = [pool.apply_async(tasks.double, (n,)) for n in range(3000)]
    assert [result.get(DEADLINE) for result in results] == [2 * n for n in range(3000)]
    assert pool.map(tasks.double, range(20000)) == [2 * n for n in range(20000)]


def test_threads_may_share_a_pool(pool: Any) -> None:
    """Several threads submit and wait at the same time, and each gets its own answers."""

    def ask(base: int) -> list[int]:
        mapped: list[int] = pool.map(tasks.double, range(base, base + 50), 7)
        return mapped + [pool.apply(tasks.double, (base + n,)) for n in range(20)]

    with ThreadPoolExecutor(4) as threads:
        for base, answers in zip(range(0, 400, 100), threads.map(ask, range(0, 400, 100)), strict=True):
            assert answers == [2 * (base + n) for n in [*range(50), *range(20)]]


@pytest.mark.needs_processes("in the caller's process one thing runs at a time")
def test_tasks_run_at_the_same_time(make_pool: Callable[..., Any], gate: Gate) -> None:
    """A pool of n runs n tasks at once, each in a process of its own."""
    pool = make_pool(3)
    result = pool.map_async(functools.partial(tasks.pid_through, gate), range(3), 1)
    here = gate.wait_arrived(3)
    gate.open()
    assert len(set(here)) == 3
    assert sorted(result.get(DEADLINE)) == sorted(here)


@pytest.mark.not_in_stdlib("its feeder thread pickles at some later time")
@pytest.mark.needs_processes("in the caller's process nothing is copied")
def test_arguments_are_copied_when_they_are_submitted(make_pool: Callable[..., Any], gate: Gate) -> None:
    """What the caller does to an argument after submitting it is never seen by the task."""
    pool = make_pool(1)
    blocker = pool.apply_async(tasks.through, (gate,))
    buffer = [1]
    result = pool.apply_async(tasks.double, (buffer,))
    buffer[0] = 2
    gate.open()
    blocker.get(DEADLINE)
    assert result.get(DEADLINE) == [1, 1]


# ------------------------------------------------------------------------------------------------- errors of tasks


def test_a_task_raises_in_the_caller_what_it_raised_in_the_worker(pool: Any) -> None:
    """The caller gets the exception of the task: same class, same arguments."""
    for call in (
        lambda: pool.apply(tasks.fail, ("why",)),
        lambda: pool.apply_async(tasks.fail, ("why",)).get(DEADLINE),
        lambda: pool.map(tasks.fail, ["why"]),
        lambda: pool.starmap(tasks.fail, [("why", 1)]),
        lambda: list(pool.imap(tasks.fail, ["why"])),
        lambda: list(pool.imap_unordered(tasks.fail, ["why"])),
    ):
        with pytest.raises(ValueError, match=r"^why$") as caught:
            call()
        assert type(caught.value) is ValueError
        assert caught.value.args == ("why",)


def test_an_error_keeps_its_data(pool: Any) -> None:
    """An exception class with its own constructor and attributes comes back as itself."""
    with pytest.raises(bombs.CarriesDataError) as caught:
        pool.apply(tasks.throw, (bombs.CarriesDataError, 7), {"text": "seven"})
    assert (caught.value.code, caught.value.text) == (7, "seven")


def test_the_traceback_of_the_worker_is_shown(pool: Any) -> None:
    """A printed traceback of the error has the lines of the worker that raised it."""
    with pytest.raises(ValueError) as caught:
        pool.apply(tasks.fail_chained)
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "in fail_chained" in text
    assert "tasks.py" in text
    assert "the inner error" in text
    assert "direct cause" in text


@pytest.mark.needs_processes("in the caller's process the real traceback is there")
def test_the_cause_of_a_remote_error_is_the_text_of_its_traceback(pool: Any) -> None:
    """`error.__cause__` prints the traceback in the worker, the error itself being its last line."""
    with pytest.raises(ValueError) as caught:
        pool.apply(tasks.fail, ("why",))
    text = str(caught.value.__cause__)
    assert "Traceback (most recent call last)" in text
    assert "in fail" in text
    assert "ValueError: why" in text


def test_map_waits_for_everything_before_it_raises(pool: Any, notes: Notes) -> None:
    """An early error does not stop the others: all items have run when `map` raises."""
    with pytest.raises(ValueError) as caught:
        pool.map(functools.partial(tasks.note_or_fail, notes), range(12), chunksize=1)
    assert sorted(map(int, notes.texts())) == list(range(12))
    assert caught.value.args[0] % 2


@pytest.mark.needs_processes("in the caller's process it has ended before it is asked for")
def test_a_failed_map_is_not_ready_while_an_item_runs(pool: Any, gate: Gate) -> None:
    """A map whose first item has failed stays unready until its last item is done."""
    result = pool.starmap_async(tasks.through_or_fail, [(gate, False), (gate, True), (gate, False)], 1)
    gate.wait_arrived(2)
    assert not result.ready()
    gate.open()
    with pytest.raises(ValueError):
        result.get(DEADLINE)


@pytest.mark.not_in_stdlib("there an error ends its chunk")
@pytest.mark.parametrize("chunksize", [None, 4, 100])
def test_chunks_do_not_change_what_an_error_costs(pool: Any, notes: Notes, chunksize: int | None) -> None:
    """However items are grouped, a failing item costs that item only."""
    with pytest.raises(ValueError) as caught:
        pool.map(functools.partial(tasks.note_or_fail, notes), range(12), chunksize)
    assert sorted(map(int, notes.texts())) == list(range(12))
    assert caught.value.args == (1,), "the first by position, for any timing"


def test_the_pool_goes_on_after_an_error(pool: Any) -> None:
    """A task that fails leaves the pool as it was."""
    for _ in range(5):
        with pytest.raises(ValueError):
            pool.map(tasks.fail, range(4))
        assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


@pytest.mark.needs_processes("in the caller's process nothing is pickled")
@pytest.mark.parametrize("task", [tasks.make_lock, tasks.make_generator])
def test_a_result_that_cannot_be_pickled_is_an_error_of_that_task(pool: Any, task: Callable[..., Any]) -> None:
    """The caller gets a MaybeEncodingError that says what could not be sent, and the pool goes on."""
    with pytest.raises(MaybeEncodingError, match=r"lock|generator"):
        pool.apply_async(task).get(DEADLINE)
    with pytest.raises(MaybeEncodingError):
        pool.map(task, range(3), 1)
    assert pool.apply(tasks.double, (2,)) == 4


@pytest.mark.needs_processes("in the caller's process nothing is pickled")
def test_an_error_callback_hears_of_a_result_that_cannot_be_pickled(pool: Any) -> None:
    """MaybeEncodingError reaches `error_callback` as any error does."""
    heard: list[BaseException] = []
    result = pool.apply_async(tasks.make_lock, error_callback=heard.append)
    with pytest.raises(MaybeEncodingError) as caught:
        result.get(DEADLINE)
    assert heard == [caught.value]


@pytest.mark.needs_processes("in the caller's process nothing is pickled")
def test_an_argument_that_cannot_be_pickled_is_an_error_of_that_call(pool: Any) -> None:
    """An argument that cannot be sent raises in the caller, at the call or at `get`, and the pool goes on."""
    with pytest.raises(Exception, match="pickle"):
        pool.apply_async(tasks.double, (threading.Lock(),)).get(DEADLINE)
    with pytest.raises(Exception, match="pickle"):
        pool.map(tasks.double, [1, threading.Lock()], 1)
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


@pytest.mark.needs_processes("in the caller's process nothing is pickled")
@pytest.mark.parametrize("error", [bombs.HoldsLockError, bombs.NeedsArgsError, bombs.UnpicklesBadlyError])
@pytest.mark.not_in_stdlib("an error that fails to unpickle ends its result thread: get() hangs (gh-79492)")
def test_an_error_that_cannot_travel_still_ends_the_call(pool: Any, error: type[Exception]) -> None:
    """An exception that will not pickle or unpickle is replaced by one that names it and shows its traceback."""
    args: tuple[Any, ...] = (3, "three") if error is bombs.NeedsArgsError else ()
    with pytest.raises(Exception, match=r".") as caught:
        pool.apply_async(tasks.throw, (error, *args)).get(DEADLINE)
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert error.__name__ in text
    assert "in throw" in text
    assert pool.apply(tasks.double, (2,)) == 4


@pytest.mark.not_in_stdlib("the worker exits and get() hangs (PR 101081)")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_any_base_exception_ends_the_call(pool: Any, error: type[BaseException]) -> None:
    """A task that raises SystemExit or the like is answered with an error, never with silence."""
    with pytest.raises(BaseException, match=r"."):
        pool.apply_async(tasks.throw, (error, "left early")).get(DEADLINE)
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


# ------------------------------------------------------------------------------------------------- errors of callers


def test_an_error_of_the_input_is_raised_by_map(pool: Any) -> None:
    """When the iterable itself raises, `map` raises that error and the pool goes on."""
    for items in (tasks.failing_input(3), tasks.failing_input(0), tasks.FailingSequence(1, 0)):
        with pytest.raises(tasks.InputError):
            pool.map(tasks.double, items, 1)
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


@pytest.mark.not_in_stdlib("it waits for as many results as the length had promised")
def test_an_error_of_a_sized_input_is_raised_by_map(pool: Any) -> None:
    """An iterable that gives fewer items than its length, and then raises, ends the call all the same."""
    for mapping in (pool.map, pool.starmap):
        with pytest.raises(tasks.InputError):
            mapping(tasks.double, tasks.FailingSequence(10, 0), 1)
    with pytest.raises(tasks.InputError):
        pool.map(tasks.double, tasks.FailingSequence(10, 3), 1)
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


def test_map_refuses_what_is_no_iterable(pool: Any) -> None:
    """`map(f, 3)` is a TypeError in the caller."""
    for mapping in (pool.map, pool.map_async, pool.starmap, pool.imap, pool.imap_unordered):
        with pytest.raises(TypeError):
            _complete(mapping(tasks.double, 3))


def _complete(result: Any) -> object:
    return result.get(DEADLINE) if hasattr(result, "get") else list(result)


def test_what_cannot_be_called_is_refused(pool: Any) -> None:
    """A task that is no callable is a TypeError, at the call or at `get`."""
    with pytest.raises(TypeError):
        pool.apply(3)
    with pytest.raises(TypeError):
        pool.map(None, [1, 2])
    assert pool.apply(tasks.double, (2,)) == 4


@pytest.mark.not_in_stdlib("there the worker says it, after a round trip")
def test_what_cannot_be_called_is_refused_at_the_call(pool: Any) -> None:
    """The call itself raises TypeError for a function that is none."""
    for call in (pool.apply_async, pool.map_async, pool.starmap_async, pool.imap, pool.imap_unordered):
        with pytest.raises(TypeError):
            call(3, [1])


@pytest.mark.parametrize("chunksize", [0, -1])
def test_imap_refuses_a_chunksize_below_one(pool: Any, chunksize: int) -> None:
    """A chunksize below one is a ValueError at the call."""
    with pytest.raises(ValueError):
        pool.imap(tasks.double, [1, 2], chunksize)
    with pytest.raises(ValueError):
        pool.imap_unordered(tasks.double, [1, 2], chunksize)


@pytest.mark.not_in_stdlib("map with chunksize 0 gives a list of None, unasked")
@pytest.mark.parametrize("chunksize", [0, -1])
def test_map_refuses_a_chunksize_below_one(pool: Any, chunksize: int) -> None:
    """A chunksize below one is a ValueError at the call."""
    for mapping in (pool.map, pool.map_async, pool.starmap, pool.starmap_async):
        with pytest.raises(ValueError):
            mapping(tasks.double, [(1,), (2,)], chunksize)


# ------------------------------------------------------------------------------------------------- beyond the standard


@pytest.mark.not_in_stdlib("functions travel by reference there")
def test_a_result_may_be_a_function(pool: Any) -> None:
    """A closure comes back by value and can be called."""
    assert pool.apply(tasks.make_adder, (3,))(4) == 7
    assert [adder(1) for adder in pool.map(tasks.make_adder, range(3))] == [1, 2, 3]


@pytest.mark.not_in_stdlib("functions travel by reference there")
def test_a_task_may_be_a_lambda(pool: Any) -> None:
    """A closure goes to the worker by value, with what it closes over."""
    offset = 10
    assert pool.map(lambda x: x + offset, range(4)) == [10, 11, 12, 13]


@pytest.mark.not_in_stdlib("its workers are daemonic, which may have no children")
@pytest.mark.needs_processes("in the caller's process a nested pool is a pool")
def test_a_task_may_have_a_pool_and_processes(pool: Any, subject: Subject, notes: Notes) -> None:
    """A task may use the same library itself."""
    assert pool.apply(tasks.inner_pool, (subject.library, subject.method, 5)) == [0, 2, 4, 6, 8]
    assert pool.apply(tasks.inner_pool, ("multiprocessing", "fork", 5)) == [0, 2, 4, 6, 8]
    assert pool.apply(tasks.inner_process, (subject.library, subject.method, notes)) == 0
    assert notes.texts() == ["inner"]


@pytest.mark.not_in_stdlib("the caller of a task whose worker died waits for ever (gh-66587)")
@pytest.mark.needs_processes("in the caller's process it would end the caller")
@pytest.mark.parametrize(("how", "code"), [(bombs.How.EXIT, bombs.EXIT_CODE), (bombs.How.KILL, -9)])
def test_the_death_of_a_worker_costs_its_task_only(pool: Any, subject: Subject, how: bombs.How, code: int) -> None:
    """The task at fault gets WorkerDied with the exit code; its neighbours and the pool go on."""
    from concurrent.futures.process import BrokenProcessPool

    before = [pool.apply_async(tasks.double, (n,)) for n in range(20)]
    fatal = pool.apply_async(bombs.detonate, (how,))
    after = [pool.apply_async(tasks.double, (n,)) for n in range(20)]
    with pytest.raises(subject.module.WorkerDied) as caught:
        fatal.get(DEADLINE)
    assert isinstance(caught.value, BrokenProcessPool)
    assert getattr(caught.value, "exitcode", None) == code
    assert [result.get(DEADLINE) for result in before + after] == 2 * [2 * n for n in range(20)]


@pytest.mark.parametrize("kind", [int, float, str, bool])
def test_a_long_map_keeps_every_item(pool: Any, kind: type) -> None:
    """A map of more items than any buffer holds gives every value in its place, whatever its type."""
    assert pool.map(kind, range(50_000)) == [kind(n) for n in range(50_000)]
