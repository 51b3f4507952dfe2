"""What an attacker found: each of these once hung, lost an outcome, or ran something twice."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

import procession

from .faces import DEADLINE


class SlowToLoad:
    """A function that takes its time to be unpickled."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        if threading.current_thread() is threading.main_thread() and os.getpid() != state.get("parent"):
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                pass

    def __call__(self, number: int) -> int:
        """Work for a little longer than the interrupt of the reading would have taken."""
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        return -number


def test_who_takes_long_to_load_is_not_frozen_for_ever(pool: Any) -> None:
    """A function that is over its time while it is read, and then runs, has an outcome either way."""
    found = pool.map_async(SlowToLoad(0.6), [1, 2], 1, timeout=0.5, on_error="return").get(DEADLINE)
    assert all(value in (-1, -2) or isinstance(value, procession.TaskTimeout) for value in found)
    assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))


def test_a_chunk_of_thousands_of_items_is_sent(pool: Any) -> None:
    """More items than the kernel takes parts of a message."""
    assert pool.map_async(abs, range(30_000), 1500).get(DEADLINE) == list(range(30_000))
    assert list(pool.imap(abs, range(5_000), 2000)) == list(range(5_000))


@pytest.mark.parametrize("seconds", [1e7, 9_999_999, threading.TIMEOUT_MAX])
def test_waits_of_months_are_waits(pool: Any, seconds: float) -> None:
    """`get(9999999)` is an old idiom."""
    assert pool.map_async(abs, [-1]).get(seconds) == [1]
    assert pool.submit(abs, -1).result(seconds) == 1
    assert pool.map(abs, [-1], timeout=seconds) == [1]
    assert pool.imap(abs, [-1]).next(seconds) == 1


def wait_within(gate: Gate) -> None:
    """Wait in a pool of this worker's own."""
    with procession.Pool(1) as pool:
        pool.apply(gate.wait)


def test_a_task_that_waits_in_its_own_pool_is_stopped(pool: Any, gate: Gate) -> None:
    """By a timeout and by a cancel, like any other."""
    task = pool.options(timeout=1).submit(wait_within, gate)
    assert isinstance(task.exception(DEADLINE), procession.TaskTimeout)
    arrived = len(gate.arrivals.lines())  # on a busy machine it may have been stopped before it came so far
    task = pool.submit(wait_within, gate)
    gate.wait_arrived(arrived + 1)
    task.cancel(interrupt=True)
    with pytest.raises(procession.TaskCancelled):
        task.result(DEADLINE)


def test_the_collector_may_end_an_iterator_at_any_moment(pool: Any) -> None:
    """An abandoned imap in a cycle, collected in the midst of the engine's work, does not lock it up."""
    before = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for number in range(100):
            cycle: list[Any] = [pool.imap(abs, range(1000))]
            cycle.append(cycle)
            del cycle
            assert pool.submit(abs, -number).result(DEADLINE) == number
    finally:
        gc.set_threshold(*before)


def test_a_closed_imap_pulls_no_more(pool: Any, notes: Notes) -> None:
    """Also if its input was being waited for when it was closed."""
    asked, go_on = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        yield 0
        asked.set()
        go_on.wait(DEADLINE)
        yield from range(1, 100)

    stream = pool.imap(notes.write, numbers())
    assert next(stream) is None
    assert asked.wait(DEADLINE)
    stream.close()
    go_on.set()
    assert pool.map(abs, range(10)) == list(range(10))
    assert notes.texts() == ["0"]


def fail(notes: Notes) -> None:
    """Note it, and fail."""
    notes.write()
    raise ValueError


def test_a_task_that_is_stopped_is_not_tried_again(pool: Any, notes: Notes) -> None:
    """Not even if it has just failed, and that has yet to be told."""
    tried = threading.Event()

    def stop(_result: Any) -> None:
        eventually(lambda: len(notes.lines()) >= 1, DEADLINE)
        task.cancel(interrupt=True)
        tried.set()

    for _ in range(10):
        first = pool.submit(abs, -1)
        task = pool.options(retries=1000).submit(fail, notes)
        first.add_done_callback(stop)
        assert tried.wait(DEADLINE)
        eventually(task.done, DEADLINE)
        tried.clear()


def unloadable(_number: int) -> None:
    """Never called."""


class Unloadable:
    """A function that no worker can unpickle."""

    def __call__(self, number: int) -> None:
        """Never called there."""

    def __reduce__(self) -> Any:
        return _refuse, (os.getpid(),)


def _refuse(parent: int) -> Any:
    if os.getpid() != parent:
        raise ValueError("not here")
    return unloadable


def test_a_refused_chunk_counts_against_the_quota(make_pool: Callable[..., Any]) -> None:
    """With `maxtasksperchild`, the next task gets a new worker."""
    pool = make_pool(1, maxtasksperchild=1)
    for _ in range(3):
        assert pool.map(Unloadable(), [1], on_error="return")[0].args == ("not here",)
        assert pool.apply(abs, (-1,)) == 1


def test_stacks_may_be_asked_for_by_a_callback(pool: Any, gate: Gate) -> None:
    """While the same thread waits for the answer to the same question."""
    rows: list[Any] = []
    pool.apply_async(gate.wait)
    gate.wait_arrived()
    for _ in range(3):
        pool.apply_async(abs, (-1,), callback=lambda _: rows.append(pool.dump_stacks()))
        assert pool.dump_stacks()
    eventually(lambda: len(rows) == 3, DEADLINE)


def count_to(notes: Notes, number: int) -> int:
    """Note some numbers; give each."""
    if number % 5000 == 0:
        notes.write(number)
    return number


def test_nothing_runs_twice_when_workers_are_held_up(make_pool: Callable[..., Any], notes: Notes) -> None:
    """Workers that are stopped for moments, at random, and so seem stuck, have no item run elsewhere as well."""
    import random
    import signal

    pool = make_pool(3)
    pids = [process.pid for process in pool._pool]
    done = threading.Event()

    def hold_up() -> None:
        draw = random.Random(1)
        while not done.wait(draw.uniform(0, 0.01)):
            pid = draw.choice(pids)
            os.kill(pid, signal.SIGSTOP)
            done.wait(0.02)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=hold_up)
    thread.start()
    try:
        for _ in range(20):
            assert pool.map(functools.partial(count_to, notes), range(50_000), 25_000) == list(range(50_000))
    finally:
        done.set()
        thread.join()
    assert len(notes.lines()) == 20 * 10


CLOSED = """
import sys
import procession

def work(item):
    print("out")
    print("err", file=sys.stderr)
    return item

def main():
    for method in procession.get_all_start_methods():
        context = procession.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(work, [1, 2]) == [1, 2]
        process = context.Process(target=work, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_cost_nothing(tmp_path: Path, closed: str) -> None:
    """What was closed when the program began is no place for a pipe of ours."""
    (tmp_path / "closed.py").write_text(CLOSED)
    command = f'exec "$0" closed.py {closed}'
    assert subprocess.run(["/bin/sh", "-c", command, sys.executable], cwd=tmp_path, timeout=60).returncode == 0


def die() -> None:
    """Initialize a worker for the worst."""
    os._exit(1)


def test_a_stream_of_a_broken_pool_ends_with_that(make_pool: Callable[..., Any]) -> None:
    """Not as if there were no more items."""
    for endless in (itertools.count(), iter(range(10_000))):
        pool = make_pool(2, initializer=die)
        with pytest.raises(procession.PoolBroken):
            list(pool.outcomes(abs, endless))
        with pytest.raises(procession.PoolBroken):
            list(pool.outcomes(abs, iter(range(10))))


def test_a_stream_ends_with_its_pool(make_pool: Callable[..., Any]) -> None:
    """Also if its input is being waited for."""
    over = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        over.wait()

    pool = make_pool(2)
    result = pool.imap(abs, items())
    assert next(result) == 1
    pool.terminate()
    with pytest.raises(procession.TaskCancelled):
        next(result)
    over.set()
    with pytest.raises(StopIteration):
        next(result)


def test_an_input_may_raise_anything(make_pool: Callable[..., Any]) -> None:
    """The caller gets it, and nobody else."""
    pool = make_pool(2)
    for error in (GeneratorExit, KeyboardInterrupt, SystemExit):

        def items(error: type[BaseException] = error) -> Iterator[int]:
            yield 1
            raise error("no more")

        result = pool.imap(abs, items())
        assert next(result) == 1
        with pytest.raises(error, match="no more"):
            next(result)
