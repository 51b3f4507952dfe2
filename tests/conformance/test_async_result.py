"""What an AsyncResult and its callbacks promise."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.gates import Gate

from .subjects import Subject

DEADLINE = 60
busy = pytest.mark.needs_processes("in the caller's process it is done before it is asked for")


@busy
def test_get_with_a_timeout_raises_and_the_task_goes_on(pool: Any, gate: Gate) -> None:
    """`get(t)` raises multiprocessing.TimeoutError after t seconds, and a later `get` still gives the value."""
    result = pool.apply_async(tasks.through, (gate, "value"))
    for timeout in (0, 0.01, 0.2):
        began = time.monotonic()
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(timeout)
        assert time.monotonic() - began >= timeout
    gate.open()
    assert result.get(DEADLINE) == "value"


def test_there_is_one_timeout_error(subject: Subject) -> None:
    """The library's TimeoutError is the class that `multiprocessing` users already catch."""
    assert subject.module.TimeoutError is multiprocessing.TimeoutError
    assert subject.context.TimeoutError is multiprocessing.TimeoutError


@pytest.mark.not_in_stdlib("its TimeoutError is not the builtin one")
@busy
def test_a_timeout_is_also_the_builtin_timeout_error(pool: Any, gate: Gate) -> None:
    """What `get` raises is caught by `except TimeoutError` with the builtin class, too."""
    result = pool.apply_async(tasks.through, (gate,))
    with pytest.raises(TimeoutError):
        result.get(0.01)


@busy
def test_wait_returns_none_whether_done_or_not(pool: Any, gate: Gate) -> None:
    """`wait(t)` returns None at the end of the task or after t seconds, and never raises."""
    result = pool.apply_async(tasks.fail_through, (gate, "why"))
    assert result.wait(0.01) is None
    assert not result.ready()
    gate.open()
    assert result.wait(DEADLINE) is None
    assert result.ready()


@busy
def test_successful_is_an_error_before_the_end(pool: Any, gate: Gate) -> None:
    """`successful()` raises ValueError while the task is not done."""
    result = pool.apply_async(tasks.through, (gate,))
    assert result.ready() is False
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    gate.open()
    result.get(DEADLINE)
    assert result.successful() is True


def test_successful_says_whether_it_raised(pool: Any) -> None:
    """`successful()` is False for a task or a map that raised."""
    for result in (pool.apply_async(tasks.fail), pool.map_async(tasks.fail_if_odd, range(4), 1)):
        result.wait(DEADLINE)
        assert result.ready()
        assert result.successful() is False
    good = pool.map_async(tasks.double, range(4))
    good.wait()
    assert good.successful() is True


def test_get_may_be_called_again(pool: Any) -> None:
    """Every `get` gives the same value, or raises the same error."""
    result = pool.apply_async(tasks.double, ([1],))
    assert result.get(DEADLINE) is result.get(DEADLINE)
    failed = pool.apply_async(tasks.fail)
    with pytest.raises(ValueError) as first:
        failed.get(DEADLINE)
    with pytest.raises(ValueError) as second:
        failed.get(DEADLINE)
    assert first.value is second.value


@busy
def test_any_thread_may_wait(pool: Any, gate: Gate) -> None:
    """Several threads that wait for one result all get it."""
    result = pool.apply_async(tasks.through, (gate, 5))
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(result.get(DEADLINE))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.wait_arrived(1)
    gate.open()
    for thread in threads:
        thread.join(DEADLINE)
    assert got == [5] * 4


@busy
def test_results_are_ready_in_any_order(make_pool: Callable[..., Any], make_gate: Callable[[], Gate]) -> None:
    """A task is ready when it is done, whatever was submitted before it."""
    pool = make_pool(2)
    first_gate, second_gate = make_gate(), make_gate()
    first = pool.apply_async(tasks.through, (first_gate, 1))
    second = pool.apply_async(tasks.through, (second_gate, 2))
    second_gate.open()
    assert second.get(DEADLINE) == 2
    assert not first.ready()
    first_gate.open()
    assert first.get(DEADLINE) == 1


def test_the_results_have_the_known_classes(pool: Any) -> None:
    """What the calls return passes for the standard library's classes."""
    assert isinstance(pool.apply_async(tasks.double, (1,)), multiprocessing.pool.AsyncResult)
    assert isinstance(pool.map_async(tasks.double, [1]), multiprocessing.pool.AsyncResult)


# --------------------------------------------------------------------------------------------------------- callbacks


def test_a_callback_has_run_when_the_result_is_ready(pool: Any) -> None:
    """`callback(value)` is called once, before `get` returns."""
    for n in range(30):
        heard: list[int] = []
        result = pool.apply_async(tasks.double, (n,), callback=heard.append)
        assert result.get(DEADLINE) == 2 * n
        assert heard == [2 * n]


def test_an_error_callback_has_run_when_the_result_is_ready(pool: Any) -> None:
    """`error_callback(error)` is called once, before `get` raises, with the very error that it raises."""
    for _ in range(10):
        heard: list[BaseException] = []
        result = pool.apply_async(tasks.fail, error_callback=heard.append)
        with pytest.raises(ValueError) as caught:
            result.get(DEADLINE)
        assert heard == [caught.value]


def test_a_callback_sees_a_result_that_is_not_ready(pool: Any) -> None:
    """Callbacks run before the result is ready: `wait` never returns between the two."""
    seen: list[bool] = []
    known = threading.Event()
    box: list[Any] = []

    def look(_: object) -> None:
        if known.wait(0 if threading.current_thread() is threading.main_thread() else DEADLINE):
            seen.append(box[0].ready())

    box.append(pool.apply_async(tasks.double, (1,), callback=look))
    known.set()
    assert box[0].get(DEADLINE) == 2
    assert seen in ([False], []), "[] where it was run by the call itself"


def test_only_the_callback_that_fits_is_called(pool: Any) -> None:
    """A value goes to `callback` alone, an error to `error_callback` alone."""
    values: list[Any] = []
    errors: list[BaseException] = []
    hears: dict[str, Any] = {"callback": values.append, "error_callback": errors.append}
    pool.apply_async(tasks.double, (1,), **hears).wait(DEADLINE)
    pool.apply_async(tasks.fail, **hears).wait(DEADLINE)
    pool.map_async(tasks.double, range(3), 1, **hears).wait(DEADLINE)
    pool.starmap_async(tasks.add, [(1, 2)], None, **hears).wait(DEADLINE)
    pool.map_async(tasks.fail_if_odd, [2, 3, 4], 1, **hears).wait(DEADLINE)
    assert values == [2, [0, 2, 4], [3]]
    assert [type(error) for error in errors] == [ValueError, ValueError]


def test_the_callback_of_an_empty_map_may_be_left_out(pool: Any) -> None:
    """A map of nothing is complete with or without its callback having been called."""
    heard: list[Any] = []
    assert pool.map_async(tasks.double, [], callback=heard.append).get(DEADLINE) == []
    assert heard in ([], [[]])


def test_callbacks_are_called_without_anybody_waiting(pool: Any) -> None:
    """A callback is called soon after its task is done, even if nobody ever asks for the result."""
    called = threading.Event()
    pool.apply_async(tasks.double, (1,), callback=lambda _: called.set())
    assert called.wait(DEADLINE)


def test_a_callback_may_submit(pool: Any) -> None:
    """A callback may use the pool: chains of tasks are built so."""
    done = threading.Event()
    heard: list[int] = []

    def go_on(value: int) -> None:
        heard.append(value)
        if value < 32:
            pool.apply_async(tasks.double, (value,), callback=go_on)
        else:
            done.set()

    pool.apply_async(tasks.double, (1,), callback=go_on)
    assert done.wait(DEADLINE)
    assert heard == [2, 4, 8, 16, 32]


@pytest.mark.not_in_stdlib("a callback that raises ends the result thread: all callers hang (gh-83371, fixed in 3.16)")
@pytest.mark.parametrize("task", [tasks.double, tasks.fail])
def test_a_callback_that_raises_becomes_the_error_of_its_job(pool: Any, task: Callable[..., Any]) -> None:
    """The job whose callback raised ends with that error, and the pool goes on."""

    def broken(_: object) -> None:
        raise LookupError("broken callback")

    result = pool.apply_async(task, (1,), callback=broken, error_callback=broken)
    with pytest.raises(LookupError, match="broken callback"):
        result.get(DEADLINE)
    mapped = pool.map_async(task, [1, 2], callback=broken, error_callback=broken)
    with pytest.raises(LookupError, match="broken callback"):
        mapped.get(DEADLINE)
    assert not mapped.successful()
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]
