"""What is Procession's own: `submit` and its Task, the warm `procession.map`, `on_error`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

from .subjects import Subject

DEADLINE = 60
pytestmark = pytest.mark.not_in_stdlib("Procession's own")
busy = pytest.mark.needs_processes("in the caller's process a task is done before it is seen")


# ------------------------------------------------------------------------------------------------------------- Task


def test_a_task_is_a_future(pool: Any) -> None:
    """`submit(f, *args, **kwargs)` returns a `concurrent.futures.Future` of the value."""
    task = pool.submit(tasks.add, 1, 2, z=3)
    assert isinstance(task, concurrent.futures.Future)
    assert task.result(DEADLINE) == 6
    assert task.done()
    assert not task.cancelled()
    assert not task.running()
    assert task.exception(DEADLINE) is None


def test_a_task_passes_the_error_on(pool: Any) -> None:
    """`result` raises the error of the task, `exception` returns it."""
    task = pool.submit(tasks.fail, "why")
    with pytest.raises(ValueError, match="why") as caught:
        task.result(DEADLINE)
    assert task.exception(DEADLINE) is caught.value


@busy
def test_a_task_that_runs_says_so(make_pool: Callable[..., Any], gate: Gate) -> None:
    """`result(t)` and `exception(t)` raise TimeoutError while it runs, and it goes on."""
    task = make_pool(1).submit(tasks.through, gate, "value")
    gate.wait_arrived(1)
    for wait in (task.result, task.exception):
        with pytest.raises(concurrent.futures.TimeoutError):
            wait(0.05)
    assert task.running()
    assert not task.done()
    gate.open()
    assert task.result(DEADLINE) == "value"


@busy
def test_a_queued_task_can_be_cancelled(make_pool: Callable[..., Any], gate: Gate, notes: Notes) -> None:
    """`cancel` of a task that has not started is True, and it never runs; the others are not touched."""
    pool = make_pool(1)
    first = pool.submit(tasks.through, gate, 1)
    gate.wait_arrived(1)
    rest = [pool.submit(tasks.note, notes, n) for n in range(10)]
    assert rest[-1].cancel()
    assert rest[-1].cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        rest[-1].result(DEADLINE)
    gate.open()
    assert first.result(DEADLINE) == 1
    assert [task.result(DEADLINE) for task in rest[:-1]] == list(range(9))
    assert sorted(map(int, notes.texts())) == list(range(9))


def test_a_done_task_cannot_be_cancelled(pool: Any) -> None:
    """`cancel` of what is done is False and changes nothing."""
    task = pool.submit(tasks.double, 2)
    assert task.result(DEADLINE) == 4
    assert task.cancel() is False
    assert task.result() == 4


def test_done_callbacks_are_called_without_anybody_waiting(pool: Any) -> None:
    """`add_done_callback` is called with the task soon after its end, and at once if it is done."""
    called = threading.Event()
    heard: list[Any] = []

    def on_done(task: Any) -> None:
        heard.append(task)
        called.set()

    task = pool.submit(tasks.double, 2)
    task.add_done_callback(on_done)
    assert called.wait(DEADLINE)
    assert heard == [task]
    task.add_done_callback(heard.append)
    assert heard == [task, task]


def test_wait_and_as_completed_take_tasks(pool: Any) -> None:
    """`concurrent.futures.wait` and `as_completed` work on tasks."""
    submitted = [pool.submit(tasks.double, n) for n in range(10)]
    done, pending = concurrent.futures.wait(submitted, DEADLINE)
    assert (done, pending) == (set(submitted), set())
    submitted = [pool.submit(tasks.double, n) for n in range(10)]
    assert sorted(task.result() for task in concurrent.futures.as_completed(submitted, DEADLINE)) == list(
        range(0, 20, 2)
    )


@busy
def test_wait_for_the_first(make_pool: Callable[..., Any], gate: Gate) -> None:
    """`wait(FIRST_COMPLETED)` returns as soon as one task is done."""
    pool = make_pool(2)
    slow, quick = pool.submit(tasks.through, gate), pool.submit(tasks.double, 1)
    done, pending = concurrent.futures.wait([slow, quick], DEADLINE, concurrent.futures.FIRST_COMPLETED)
    assert (done, pending) == ({quick}, {slow})
    gate.open()
    slow.result(DEADLINE)


def test_a_task_can_be_awaited(pool: Any) -> None:
    """`await task` gives its value or raises its error, and does not block the event loop."""

    async def main() -> tuple[list[int], str]:
        values = await asyncio.gather(*(pool.submit(tasks.double, n) for n in range(5)))
        try:
            await pool.submit(tasks.fail, "why")
        except ValueError as error:
            return values, str(error)
        return values, "no error"

    assert asyncio.run(asyncio.wait_for(main(), DEADLINE)) == ([0, 2, 4, 6, 8], "why")


@busy
def test_awaiting_lets_the_loop_go_on(make_pool: Callable[..., Any], gate: Gate) -> None:
    """While a task is awaited, the loop runs other coroutines: here the one that lets the task go on."""
    pool = make_pool(1)

    async def main() -> str:
        async def opener() -> None:
            gate.open()

        task = pool.submit(tasks.through, gate, "value")
        value, _ = await asyncio.gather(asyncio.wait_for(_await(task), DEADLINE), opener())
        return str(value)

    assert asyncio.run(main()) == "value"


async def _await(task: Any) -> Any:
    return await task


def test_submit_refuses_what_is_wrong_at_once(pool: Any) -> None:
    """A function that is none is a TypeError at the call; a pool that was closed a ValueError or RuntimeError."""
    with pytest.raises(TypeError):
        pool.submit(3)
    pool.close()
    with pytest.raises((ValueError, RuntimeError)):
        pool.submit(tasks.double, 1)


# ---------------------------------------------------------------------------------------------------------- on_error


def test_raise_runs_the_rest_first(pool: Any, notes: Notes) -> None:
    """`on_error="raise"`, the default: all items run, then the first error by position is raised."""
    for options in ({}, {"on_error": "raise"}):
        with pytest.raises(ValueError) as caught:
            pool.map(functools.partial(tasks.note_or_fail, notes), range(6), **options)
        assert caught.value.args == (1,)
    assert sorted(map(int, notes.texts())) == sorted([*range(6), *range(6)])


def test_stop_cancels_the_rest(make_pool: Callable[..., Any], notes: Notes) -> None:
    """`on_error="stop"`: the first error cancels what has not started and is raised."""
    pool = make_pool(1)
    with pytest.raises(ValueError) as caught:
        pool.map(functools.partial(tasks.note_or_fail, notes), [1, *range(0, 2000, 2)], 1, on_error="stop")
    assert caught.value.args == (1,)
    assert len(notes.lines()) < 1000
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_return_puts_the_error_in_its_place(pool: Any, chunksize: int | None) -> None:
    """`on_error="return"`: the list has the error itself where the item failed."""
    got = pool.map(tasks.fail_if_odd, range(5), chunksize, on_error="return")
    assert got[::2] == [0, 2, 4]
    assert [(type(error), error.args) for error in got[1::2]] == [(ValueError, (1,)), (ValueError, (3,))]


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_skip_leaves_the_item_out(pool: Any, chunksize: int | None) -> None:
    """`on_error="skip"`: the list has the good values in order, and nothing for the others."""
    assert pool.map(tasks.fail_if_odd, range(5), chunksize, on_error="skip") == [0, 2, 4]


def test_the_other_mappings_take_it_too(pool: Any) -> None:
    """starmap, the async calls and imap take `on_error` as `map` does."""
    assert pool.map_async(tasks.fail_if_odd, range(5), on_error="skip").get(DEADLINE) == [0, 2, 4]
    assert pool.starmap(tasks.fail_if_odd, [(0,), (1,), (2,)], on_error="skip") == [0, 2]
    assert list(pool.imap(tasks.fail_if_odd, range(5), on_error="skip")) == [0, 2, 4]
    got = list(pool.imap(tasks.fail_if_odd, range(2), on_error="return"))
    assert got[0] == 0
    assert isinstance(got[1], ValueError)


def test_an_unknown_word_is_refused(pool: Any) -> None:
    """Any other `on_error` is a ValueError that names the four."""
    with pytest.raises(ValueError, match="skip"):
        pool.map(tasks.double, [1], on_error="ignore")


# --------------------------------------------------------------------------------------------------- procession.map


def test_the_warm_map_is_a_map(no_leaks: None) -> None:
    """`procession.map(f, xs)` returns the list, needs no pool and no guard, and keeps its workers for the next call."""
    import procession

    assert procession.map(tasks.double, range(10)) == [2 * n for n in range(10)]
    first = set(procession.map(tasks.pid, range(50), chunksize=1))
    second = set(procession.map(tasks.pid, range(50), chunksize=1))
    assert os.getpid() not in first
    assert first & second


def test_the_warm_map_takes_the_options() -> None:
    """`procession.map` takes `on_error` and the other options, and raises what `Pool.map` raises."""
    import procession

    with pytest.raises(ValueError):
        procession.map(tasks.fail_if_odd, range(5))
    assert procession.map(tasks.fail_if_odd, range(5), on_error="skip") == [0, 2, 4]
    assert procession.map(lambda x: x + 1, (n for n in range(3))) == [1, 2, 3]


def test_shutdown_stops_the_warm_workers() -> None:
    """After `procession.shutdown()` the warm workers are gone, and the next call has new ones."""
    import psutil

    import procession

    first = set(procession.map(tasks.pid, range(20), chunksize=1))
    procession.shutdown()
    assert not any(psutil.pid_exists(pid) for pid in first)
    procession.shutdown()
    assert not first & set(procession.map(tasks.pid, range(20), chunksize=1))


# ----------------------------------------------------------------------------------------------------------- inline


def test_inline_runs_everything_here(subject: Subject, pool: Any) -> None:
    """`backend="inline"` runs each task in the caller's own thread; every other subject in another process."""
    here = (os.getpid(), threading.get_ident())
    seen = set(pool.map(_where, range(4)))
    assert (seen == {here}) is (subject.backend == "inline")


def _where(_: object) -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def test_an_unknown_backend_is_refused() -> None:
    """A backend that does not exist is a ValueError when the pool is made."""
    import procession

    with pytest.raises(ValueError, match="backend"):
        procession.Pool(2, backend="no such thing")


@pytest.mark.needs_processes("inline, nothing is under way when submit returns")
def test_a_condition_that_was_left_locked_stops_nobody(pool: Any, gate: Gate) -> None:
    """As a Ctrl-C within `concurrent.futures.wait` can leave it: others still get their results."""
    task = pool.submit(gate.wait)
    locked = threading.Thread(target=task._condition.acquire)  # and it ends without a release
    locked.start()
    locked.join()
    gate.open()
    assert pool.submit(tasks.double, 2).result(30) == 4
    eventually(task.done)
