"""Cancellation: what is queued is dropped at once, what runs is stopped for real, and it is over soon."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

import procession

from .deadly import spin_deaf
from .faces import DEADLINE


def wait_and_note(gate: Gate, notes: Notes, number: int = 0) -> int:
    """Wait at the gate, and note how that ended."""
    notes.write(f"begin {number}")
    try:
        gate.wait(number)
    finally:
        notes.write(f"end {number}")
    return number


def test_a_queued_task_is_dropped_at_once(make_pool: Callable[..., Any], gate: Gate, notes: Notes) -> None:
    """With `interrupt` or without; it never begins."""
    pool = make_pool(1)
    first = pool.submit(gate.wait)
    gate.wait_arrived()
    queued = [pool.submit(notes.write, n) for n in range(10)]
    assert all(task.cancel(interrupt=bool(n % 2)) for n, task in enumerate(queued))
    assert all(task.cancelled() for task in queued)
    assert not first.cancel()
    gate.open()
    assert first.result(DEADLINE) is None
    pool.apply(abs, (1,))
    assert notes.lines() == []


def test_a_running_task_is_stopped(pool: Any, gate: Gate, notes: Notes) -> None:
    """Its `finally` runs, its worker lives on, and it is cancelled as a future is."""
    pids = {process.pid for process in pool._pool}
    task = pool.submit(wait_and_note, gate, notes)
    seen: list[Any] = []
    task.add_done_callback(seen.append)
    gate.wait_arrived()
    assert task.cancel(interrupt=True)
    assert concurrent.futures.wait([task], DEADLINE).done == {task}
    assert list(concurrent.futures.as_completed([task], DEADLINE)) == [task]
    assert task.cancelled()
    assert task.done()
    assert seen == [task]
    for ask in (task.result, task.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()
    assert notes.texts() == ["begin 0", "end 0"]
    assert {process.pid for process in pool._pool} == pids


def test_one_that_does_not_react_is_killed(pool: Any, gate: Gate) -> None:
    """After a grace; what waits behind it runs elsewhere."""
    task = pool.submit(spin_deaf, gate)
    gate.wait_arrived()
    others = [pool.submit(abs, -n) for n in range(50)]
    assert task.cancel(interrupt=True)
    assert concurrent.futures.wait([task], DEADLINE).done
    assert task.cancelled()
    assert [each.result(DEADLINE) for each in others] == list(range(50))


def test_a_task_that_is_done_cannot_be_stopped(pool: Any) -> None:
    """Its result stays."""
    task = pool.submit(abs, -3)
    assert task.result(DEADLINE) == 3
    assert not task.cancel(interrupt=True)
    assert task.result(0) == 3


def test_its_neighbours_lose_nothing(make_pool: Callable[..., Any], gate: Gate, notes: Notes) -> None:
    """Of many small tasks that travel together, the one that is stopped is, and the others run once."""
    pool = make_pool(1)
    pool.map(abs, range(1000))
    tasks = [pool.submit(wait_and_note if n == 20 else _note, gate, notes, n) for n in range(60)]
    gate.wait_arrived()
    tasks[20].cancel(interrupt=True)
    assert [task.result(DEADLINE) for at, task in enumerate(tasks) if at != 20] == [n for n in range(60) if n != 20]
    assert tasks[20].cancelled()
    assert len(notes.lines()) == 59 + 2


def _note(_gate: Gate, notes: Notes, number: int) -> int:
    notes.write(number)
    return number


def test_many_are_stopped_at_random(pool: Any, gate: Gate, notes: Notes) -> None:
    """Each of a hundred tasks, queued, sent or running, is cancelled, and the pool goes on."""
    tasks = [pool.submit(wait_and_note, gate, notes, n) for n in range(100)]
    gate.wait_arrived(2)
    for task in reversed(tasks):
        task.cancel(interrupt=True)
    concurrent.futures.wait(tasks, DEADLINE)
    assert all(task.cancelled() for task in tasks)
    begun = [text for text in notes.texts() if text.startswith("begin")]
    assert len(begun) == len(notes.texts()) - len(begun)
    assert pool.map(abs, range(100)) == list(range(100))


def test_an_awaited_task_is_stopped(pool: Any, gate: Gate) -> None:
    """The await ends with a CancelledError."""

    async def run() -> None:
        task = pool.submit(gate.wait)
        await asyncio.to_thread(gate.wait_arrived)
        task.cancel(interrupt=True)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_leaving_an_imap_stops_what_runs(pool: Any, gate: Gate, notes: Notes) -> None:
    """What is queued never begins, and what runs is interrupted, so that its `finally` runs."""
    stream = pool.imap(functools.partial(wait_and_note, gate, notes), range(100))
    gate.wait_arrived(2)
    stream.close()
    eventually(lambda: len(notes.texts()) == 4, DEADLINE)
    assert sorted(notes.texts()) == ["begin 0", "begin 1", "end 0", "end 1"]
    assert pool.map(abs, range(100)) == list(range(100))
    assert len(notes.texts()) == 4


def fail_when_others_wait(gate: Gate, notes: Notes, number: int) -> int:
    """Wait at the gate; the last item fails as soon as another one waits."""
    if number == 1:
        gate.arrivals.wait_for(1)
        raise ValueError(number)
    return wait_and_note(gate, notes, number)


@pytest.mark.parametrize("how", ["map", "map_async", "imap"])
def test_the_first_error_may_stop_a_map(pool: Any, gate: Gate, notes: Notes, how: str) -> None:
    """With `on_error="stop"` the rest is dropped, and what runs is interrupted."""
    work = functools.partial(fail_when_others_wait, gate, notes)
    run: dict[str, Callable[[], Any]] = {
        "map": lambda: pool.map(work, range(2), 1, on_error="stop"),
        "map_async": lambda: pool.map_async(work, range(2), 1, on_error="stop").get(DEADLINE),
        "imap": lambda: list(pool.imap_unordered(work, range(2), on_error="stop")),
    }
    with pytest.raises(ValueError, match="1"):
        run[how]()
    assert pool.map(abs, range(100)) == list(range(100))
    eventually(lambda: how == "map" or notes.texts() == ["begin 0", "end 0"], DEADLINE)


def test_an_exception_in_the_block_ends_all(gate: Gate, notes: Notes) -> None:
    """When the `with` block is left, nothing runs any more."""
    with pytest.raises(ZeroDivisionError), procession.Pool(2) as pool:  # noqa: PT012 (what the block does is the point)
        tasks = [pool.submit(wait_and_note, gate, notes, n) for n in range(20)]
        gate.wait_arrived(2)
        processes = pool._pool
        raise ZeroDivisionError
    assert all(task.cancelled() for task in tasks)
    assert not any(process.is_alive() for process in processes)
