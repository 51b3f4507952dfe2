"""The executor keeps what `concurrent.futures` promises, and what it promises beyond."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import itertools
import multiprocessing
import os
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

import procession
from procession import ProcessPoolExecutor


@pytest.fixture
def executor() -> Iterator[ProcessPoolExecutor]:
    """Give an executor of two workers."""
    with ProcessPoolExecutor(2) as made:
        yield made


def wait_and_note(notes: Notes, gate: Gate, number: int) -> int:
    """Wait at the gate, note the number and return it."""
    gate.wait()
    notes.write(number)
    return number


# ------------------------------------------------------------------------------------------------------------ one call


def test_a_future_is_one_of_the_standard_library(executor: ProcessPoolExecutor) -> None:
    """`wait` and `as_completed` take it together with futures of threads."""
    assert isinstance(executor, concurrent.futures.ProcessPoolExecutor)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        ours, theirs = executor.submit(tasks.double, 2), threads.submit(tasks.double, 3)
        done, left = concurrent.futures.wait([ours, theirs], 30)
        assert (done, left) == ({ours, theirs}, set())
        assert sorted(each.result() for each in concurrent.futures.as_completed([ours, theirs], 30)) == [4, 6]


def test_a_result_that_cannot_be_pickled_is_a_pickling_error(executor: ProcessPoolExecutor) -> None:
    """Whether one asks as for an error of the executor or of the pool."""
    future = executor.submit(threading.Lock)
    assert isinstance(future.exception(30), pickle.PicklingError)
    assert isinstance(future.exception(30), procession.pool.MaybeEncodingError)


def test_keywords_are_the_functions(executor: ProcessPoolExecutor) -> None:
    """Also those that are called `self` and `fn`."""
    assert executor.submit(dict, self=1, fn=2, timeout=3).result(30) == {"self": 1, "fn": 2, "timeout": 3}


def test_an_argument_that_cannot_be_pickled_is_the_futures_error(executor: ProcessPoolExecutor) -> None:
    """`submit` itself succeeds, as people who collect futures expect."""
    future = executor.submit(tasks.double, threading.Lock())
    with pytest.raises(pickle.PicklingError):
        future.result(30)
    assert executor.submit(tasks.double, 1).result(30) == 2


def test_a_dead_worker_costs_its_own_future(executor: ProcessPoolExecutor) -> None:
    """Which has the error that `concurrent.futures` would give to all; the others have their values."""
    futures = [executor.submit(tasks.double, number) for number in range(20)]
    dead = executor.submit(os._exit, 3)
    futures += [executor.submit(tasks.double, number) for number in range(20)]
    with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="code 3"):
        dead.result(30)
    assert [future.result(30) for future in futures] == [2 * number for number in range(20)] * 2
    assert not executor._broken


def test_options_hold_for_a_view(executor: ProcessPoolExecutor, gate: Gate) -> None:
    """A view is an executor, too."""
    hasty = executor.options(timeout=0.2)
    with pytest.raises(procession.TaskTimeout):
        hasty.submit(gate.wait).result(30)
    assert isinstance(hasty, concurrent.futures.Executor)
    assert list(hasty.map(tasks.double, range(3))) == [0, 2, 4]


# ----------------------------------------------------------------------------------------------------------------- map


@pytest.mark.parametrize("chunksize", [1, 7, 1000])
def test_map_is_like_map(executor: ProcessPoolExecutor, chunksize: int) -> None:
    """In order, and as long as the shortest input."""
    found = executor.map(pow, range(100), itertools.repeat(2), chunksize=chunksize)
    assert iter(found) is found
    assert list(found) == [number**2 for number in range(100)]


def test_map_takes_its_input_at_once(executor: ProcessPoolExecutor) -> None:
    """So that an error of the input is the call's, and a map whose results nobody reads is run."""
    pulled: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            pulled.append(number)
            yield number

    executor.map(tasks.double, numbers())
    assert len(pulled) == 50

    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        executor.map(tasks.double, broken())


def test_map_keeps_no_value_that_it_has_given(executor: ProcessPoolExecutor) -> None:
    """What has been yielded is the caller's alone, also while the map waits to be asked for the next."""
    values = executor.map(set, [[1], [2]])
    given = next(values)
    alive = weakref.ref(given)
    del given
    assert alive() is None
    assert list(values) == [{2}]


def test_results_that_come_while_the_input_is_taken_change_nothing(executor: ProcessPoolExecutor, notes: Notes) -> None:
    """The input is read by the caller alone."""

    def numbers() -> Iterator[int]:
        for number in range(12):
            yield number
            if number % 4 == 0:
                notes.wait_for(number)
                eventually(lambda: not executor._backend._driver._core.has_work)  # type: ignore[attr-defined]

    found = executor.map(functools.partial(tasks.note, notes), numbers())
    assert list(found) == list(range(12))


def test_a_map_that_nobody_reads_is_run(notes: Notes) -> None:
    """`shutdown` waits for it."""
    with ProcessPoolExecutor(2) as executor:
        executor.map(functools.partial(tasks.note, notes), range(100))
    assert sorted(map(int, notes.texts())) == list(range(100))


def test_buffersize_bounds_what_is_pulled(executor: ProcessPoolExecutor) -> None:
    """From an endless input, a few more than have been yielded."""
    pulled = itertools.count()
    found = executor.map(tasks.double, pulled, buffersize=10)
    assert [next(found) for _ in range(100)] == [2 * number for number in range(100)]
    assert next(pulled) <= 120


@pytest.mark.parametrize("value", [0, -1])
def test_a_wrong_buffersize_is_an_error(executor: ProcessPoolExecutor, value: int) -> None:
    """As a wrong chunk size is."""
    with pytest.raises(ValueError, match="buffersize"):
        executor.map(tasks.double, [1], buffersize=value)
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(tasks.double, [1], chunksize=value)


def test_the_timeout_of_map_is_that_of_the_wait(executor: ProcessPoolExecutor, gate: Gate) -> None:
    """It runs from the call of `map`, and stops nothing that runs."""
    found = executor.map(functools.partial(tasks.through, gate), [1], timeout=0.1)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(found)


def test_map_ends_at_the_first_error(executor: ProcessPoolExecutor) -> None:
    """What comes before it is yielded."""
    found = executor.map(divmod, [4, 3, 2], [2, 0, 1])
    assert next(found) == (2, 0)
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert list(found) == []


def test_map_goes_through_a_submit_that_was_replaced(executor: ProcessPoolExecutor) -> None:
    """Some count or wrap the calls by that."""
    seen: list[Any] = []
    submit = executor.submit

    def counting(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        seen.append(args)
        return submit(fn, *args, **kwargs)

    executor.submit = counting  # type: ignore[method-assign]
    assert list(executor.map(tasks.double, range(5))) == [0, 2, 4, 6, 8]
    assert len(seen) == 5


# -------------------------------------------------------------------------------------------------------------- endings


def test_shutdown_waits_for_what_was_submitted(notes: Notes) -> None:
    """And takes no more."""
    executor = ProcessPoolExecutor(2)
    futures = [executor.submit(tasks.note, notes, number) for number in range(20)]
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert len(notes.texts()) == 20
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(tasks.double, 1)
    executor.shutdown()


def test_shutdown_without_waiting_goes_on_behind(notes: Notes, gate: Gate) -> None:
    """It returns at once; the calls are run, and the workers end."""
    executor = ProcessPoolExecutor(2)
    futures = [executor.submit(wait_and_note, notes, gate, number) for number in range(6)]
    executor.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    gate.open()
    assert [future.result(30) for future in futures] == list(range(6))
    eventually(lambda: not executor._processes)


def test_shutdown_can_cancel_what_is_queued(gate: Gate) -> None:
    """What a worker has begun goes on to its end."""
    executor = ProcessPoolExecutor(2)
    first = [executor.submit(tasks.through, gate, number) for number in range(2)]
    eventually(lambda: all(future.running() for future in first))
    others = [executor.submit(tasks.double, number) for number in range(50)]
    executor.shutdown(wait=False, cancel_futures=True)
    eventually(lambda: sum(future.cancelled() for future in others) > 40)
    gate.open()
    assert [future.result(30) for future in first] == [0, 1]
    concurrent.futures.wait(others, 30)
    assert all(future.done() for future in others)


def test_an_executor_that_is_dropped_finishes_its_work(notes: Notes) -> None:
    """Its futures have their values, and its workers end."""
    executor = ProcessPoolExecutor(2)
    future = executor.submit(tasks.note, notes, 1)
    del executor
    assert future.result(30) == 1


@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_workers_can_be_ended(gate: Gate, how: str) -> None:
    """What runs has died, what is queued is cancelled, and all is over."""
    executor = ProcessPoolExecutor(1)
    running = executor.submit(gate.wait)
    gate.wait_arrived()
    queued = [executor.submit(tasks.double, number) for number in range(30)]
    getattr(executor, how)()
    with pytest.raises(procession.WorkerDied):
        running.result(30)
    assert any(future.cancelled() for future in queued)
    with pytest.raises(RuntimeError):
        executor.submit(tasks.double, 1)
    eventually(lambda: not executor._processes)


def test_the_interpreter_waits_for_what_was_submitted(script: Any) -> None:
    """Without a `with` block or a shutdown."""
    run = script(
        """
        import procession, time

        def work(number):
            time.sleep(0.2)
            print("done", number)

        executor = procession.ProcessPoolExecutor(2)
        for number in range(4):
            executor.submit(work, number)
        """
    )
    run.check()
    assert sorted(run.lines) == [f"done {number}" for number in range(4)]


def test_a_fork_that_drops_an_executor_leaves_its_workers_alone(script: Any) -> None:
    """Also when it does so before the fork has let go of what is the parent's."""
    run = script(
        """
        import os, time
        from procession import ProcessPoolExecutor

        kept = []
        os.register_at_fork(after_in_child=kept.clear)
        kept.append(ProcessPoolExecutor(2))
        kept[0]._backend.start_workers()
        pids = set(kept[0]._processes)
        for _ in range(3):
            assert [kept[0].submit(abs, -number).result(20) for number in range(3)] == [0, 1, 2]
            pid = os.fork()
            if not pid:
                time.sleep(0.2)  # for a thread to do harm
                os._exit(0)
            os.waitpid(pid, 0)
        assert set(kept[0]._processes) == pids
        print("all right")
        """
    )
    run.check()
    assert run.lines == ["all right"]


# -------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_standard_contexts_are_taken(method: str) -> None:
    """As `mp_context`, ours and theirs."""
    for contexts in (procession, multiprocessing):
        with ProcessPoolExecutor(1, mp_context=contexts.get_context(method)) as executor:
            assert executor.submit(tasks.double, 2).result(30) == 4


def test_workers_are_replaced_after_so_many_tasks() -> None:
    """`max_tasks_per_child` counts calls."""
    with ProcessPoolExecutor(1, max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result(30) for _ in range(6)]
    assert len(set(pids)) == 3


def test_workers_start_when_they_are_needed(executor: ProcessPoolExecutor) -> None:
    """One call after the other needs one."""
    for _ in range(5):
        executor.submit(tasks.double, 1).result(30)
    assert len(executor._processes) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_workers": 0}, ValueError),
        ({"initializer": 1}, TypeError),
        ({"max_tasks_per_child": 0}, ValueError),
        ({"max_tasks_per_child": 1.5}, TypeError),
        ({"memory_limt": "2GB"}, TypeError),
        ({"timeout": -1}, ValueError),
    ],
)
def test_wrong_arguments_are_errors(arguments: dict[str, Any], error: type[Exception]) -> None:
    """At the call that has them."""
    with pytest.raises(error):
        ProcessPoolExecutor(**arguments)


def test_an_initializer_that_fails_breaks_the_executor() -> None:
    """Its futures and later calls say so."""
    with ProcessPoolExecutor(1, initializer=tasks.fail, initargs=("first",)) as executor:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(tasks.double, 1).result(30)
        assert executor._broken
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(tasks.double, 1)


# -------------------------------------------------------------------------------------------------------------- asyncio


def test_an_event_loop_runs_calls_in_it(executor: ProcessPoolExecutor) -> None:
    """Several at once, by `run_in_executor` and by `await`."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, tasks.double, number) for number in range(10)]
        return [*await asyncio.gather(*calls), await executor.submit(tasks.double, 10)]

    assert asyncio.run(main()) == [2 * number for number in range(11)]


def test_cancellation_goes_both_ways(executor: ProcessPoolExecutor, gate: Gate) -> None:
    """From the awaiting task to the future, and from the future to whoever awaits it."""
    for _ in range(2):
        executor.submit(gate.wait)

    async def main() -> None:
        queued = executor.submit(tasks.double, 1)
        waiting = asyncio.ensure_future(asyncio.wrap_future(queued))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)  # the event loop passes it on in its next turn
        assert queued.cancelled()
        queued = executor.submit(tasks.double, 2)
        awaited = asyncio.wrap_future(queued)
        assert queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await awaited

    asyncio.run(main())
    gate.open()


def test_an_imap_can_be_awaited(notes: Notes) -> None:
    """By `async for`, while the event loop goes on."""

    async def main() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.ensure_future(tick())
        with procession.Pool(2) as pool:
            found = [value async for value in pool.imap(tasks.double, range(50))]
            found += [value async for value in pool.imap_unordered(tasks.double, [50])]
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(main())
    assert found == [2 * number for number in range(51)]
    assert ticks > 1


def test_many_loops_and_threads_share_a_pool(executor: ProcessPoolExecutor) -> None:
    """Each gets what it has asked for."""

    async def main(first: int) -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(executor, tasks.double, number) for number in range(first, first + 50))
        )

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        loops = [threads.submit(asyncio.run, main(100 * number)) for number in range(4)]
        plain = [threads.submit(lambda n=n: list(executor.map(tasks.double, range(n, n + 50)))) for n in range(4)]
        for number, each in enumerate(loops):
            assert each.result(60) == [2 * n for n in range(100 * number, 100 * number + 50)]
        for number, each in enumerate(plain):
            assert each.result(60) == [2 * n for n in range(number, number + 50)]


# ------------------------------------------------------------------------------------------------------------- reusable


def test_the_reusable_executor_is_kept() -> None:
    """As long as the same is asked for; then its successor."""
    first = procession.get_reusable_executor(2)
    try:
        assert procession.get_reusable_executor(2) is first
        assert first.submit(tasks.double, 1).result(30) == 2
        assert procession.get_reusable_executor(reuse=True) is first
        second = procession.get_reusable_executor(1)
        assert second is not first
        assert second.submit(tasks.double, 1).result(30) == 2
        second.shutdown()
        third = procession.get_reusable_executor(1)
        assert third is not second
        assert third.submit(tasks.double, 2).result(30) == 4
    finally:
        procession.get_reusable_executor(1).shutdown()


def test_a_reusable_executor_without_work_has_no_workers() -> None:
    """After its `timeout`; they come back."""
    executor = procession.get_reusable_executor(1, timeout=0.2)
    try:
        assert executor.submit(tasks.double, 1).result(30) == 2
        eventually(lambda: not executor._processes)
        assert executor.submit(tasks.double, 2).result(30) == 4
    finally:
        executor.shutdown()


def test_the_reusable_executor_may_be_asked_for_by_a_callback() -> None:
    """Also while it is being replaced."""
    asked: list[ProcessPoolExecutor] = []
    first = procession.get_reusable_executor(2)
    try:
        for number in range(10):
            future = first.submit(tasks.double, number)
            future.add_done_callback(lambda _: asked.append(procession.get_reusable_executor(1)))
        second = procession.get_reusable_executor(1)
        assert second is not first
        eventually(lambda: len(asked) == 10)
        assert set(asked) <= {second}
    finally:
        procession.get_reusable_executor(1).shutdown()


# --------------------------------------------------------------------------------------------------- at awkward moments


def test_a_closed_map_drops_what_is_to_be_tried_again(executor: ProcessPoolExecutor, notes: Notes) -> None:
    """What is given back after the iterator was closed is not begun."""
    view = executor.options(retries=5, backoff=0.05)
    found = view.map(functools.partial(tasks.note_or_fail, notes), [1, *range(0, 200, 2)])
    with pytest.raises(ValueError, match="1"):
        next(iter(found))
    executor.shutdown()
    assert notes.texts().count("1") == 6


def test_a_bounded_map_ends_with_its_executor() -> None:
    """Reading on after the shutdown gives what has been computed, and then the error of a call that comes too late."""
    with ProcessPoolExecutor(2) as executor:
        found = executor.map(tasks.double, itertools.count(), buffersize=3)
        assert next(found) == 0
    with pytest.raises(RuntimeError, match="after shutdown"):
        list(found)


def test_a_bounded_map_pulls_in_the_callers_thread(executor: ProcessPoolExecutor) -> None:
    """For inputs that belong to it."""
    threads: set[threading.Thread] = set()

    def numbers() -> Iterator[int]:
        for number in range(20):
            threads.add(threading.current_thread())
            yield number

    assert list(executor.map(tasks.double, numbers(), buffersize=2)) == [2 * number for number in range(20)]
    assert threads == {threading.current_thread()}


def test_a_callback_cannot_wait_for_the_end() -> None:
    """It would wait for itself; the standard executor refuses it, too."""
    errors: list[BaseException] = []
    executor = ProcessPoolExecutor(1)

    def shut_down(_: object) -> None:
        try:
            executor.shutdown()
        except RuntimeError as error:
            errors.append(error)

    executor.submit(tasks.double, 1).add_done_callback(shut_down)
    eventually(lambda: errors)
    executor.shutdown()


def test_an_executor_in_a_cycle_may_be_collected_at_any_moment(notes: Notes) -> None:
    """In the midst of the engine's own work, by whatever thread."""
    before = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for number in range(10):
            cycle: list[Any] = [ProcessPoolExecutor(1)]
            cycle.append(cycle)
            found = cycle[0].map(functools.partial(tasks.note, notes), range(10 * number, 10 * number + 10))
            next(found)
            cycle.append(found)
            del cycle, found
    finally:
        gc.set_threshold(*before)
    gc.collect()
