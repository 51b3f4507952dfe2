"""`timeout=`: an item that runs for too long is stopped for real, and it alone."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

import procession
from procession import OutcomeKind, TaskTimeout

from .faces import DEADLINE, FACES, Face

LIMIT = 0.3


def note_and_wait_if(gate: Gate, notes: Notes, slow: frozenset[int], number: int) -> int:
    """Note the number; a slow one then waits at the gate, and notes how that ended."""
    notes.write(number)
    if number in slow:
        try:
            gate.wait(number)
        finally:
            notes.write(f"finally {number}")
    return 2 * number


def swallow(gate: Gate, number: int) -> int:
    """Wait at the gate as long as it takes, whatever is raised."""
    while number == 1:
        try:
            gate.wait(number)
        except Exception:
            continue
        break
    return 2 * number


def deafen(gate: Gate, number: int) -> int:
    """Block every signal, and wait at the gate."""
    if number == 1:
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        gate.wait(number)
    return 2 * number


def test_a_slow_item_times_out_and_its_neighbours_do_not(pool: Any, gate: Gate, notes: Notes) -> None:
    """In the middle of a chunk: `finally` runs, the others run once each, and the workers live on."""
    pids = {process.pid for process in pool._pool}
    work = functools.partial(note_and_wait_if, gate, notes, frozenset({3}))
    found = pool.map(work, range(12), 6, timeout=LIMIT, on_error="return")
    error = found[3]
    assert isinstance(error, TaskTimeout)
    assert (error.seconds, error.index, error.item, error.killed) == (LIMIT, 3, "3", False)
    assert "(item 3) ran longer than its timeout of 0.3 s" in str(error)
    assert "in note_and_wait_if" in str(error.__cause__)  # where it was
    assert [value for at, value in enumerate(found) if at != 3] == [2 * n for n in range(12) if n != 3]
    assert sorted(notes.texts()) == sorted([*map(str, range(12)), "finally 3"])
    assert {process.pid for process in pool._pool} == pids


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
def test_every_face_has_it(make_pool: Callable[..., Any], gate: Gate, notes: Notes, face: Face) -> None:
    """As an option of the pool it holds for every call; two slow items time out, and ten do not."""
    pool = make_pool(2, timeout=LIMIT)
    work = functools.partial(note_and_wait_if, gate, notes, frozenset({0, 7}))
    found = face.run(pool, work, range(12))
    assert [at for at, value in enumerate(found) if isinstance(value, TaskTimeout)] == [0, 7]
    assert [value for at, value in enumerate(found) if at not in (0, 7)] == [
        2 * n for n in range(12) if n not in (0, 7)
    ]


@pytest.mark.parametrize("stubborn", [swallow, deafen])
@pytest.mark.parametrize("chunksize", [1, 4])
def test_who_does_not_react_is_killed(pool: Any, gate: Gate, stubborn: Any, chunksize: int) -> None:
    """An item that swallows the exception, or never sees it, ends with its worker; nobody else does."""
    found = pool.map(functools.partial(stubborn, gate), range(8), chunksize, timeout=LIMIT, on_error="return")
    assert isinstance(found[1], TaskTimeout)
    assert found[1].killed
    assert "it did not react, so its worker was killed" in str(found[1])
    assert [value for at, value in enumerate(found) if at != 1] == [2 * n for n in range(8) if n != 1]
    assert pool.map(abs, range(100)) == list(range(100))


def test_the_clock_starts_with_the_item(pool: Any) -> None:
    """Many items that take long together, but not each, are all right, also if they wait for each other."""
    found = pool.map(functools.partial(busy, 0.05), range(30), 15, timeout=0.6)
    assert found == list(range(30))


def busy(seconds: float, number: int) -> int:
    """Work for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return number


def test_a_timeout_is_no_wait(pool: Any, gate: Gate) -> None:
    """`get(timeout=)` and `result(timeout=)` limit the wait alone; the task goes on."""
    result = pool.apply_async(gate.wait)
    task = pool.submit(gate.wait)
    gate.wait_arrived(2)
    with pytest.raises(procession.TimeoutError):
        result.get(timeout=0.05)
    with pytest.raises(TimeoutError):
        task.result(timeout=0.05)
    gate.open()
    assert result.get(DEADLINE) is None
    assert task.result(DEADLINE) is None


def test_it_is_a_timeout_error_of_all_libraries(pool: Any, gate: Gate) -> None:
    """The builtin one, that of concurrent.futures and that of multiprocessing; its outcome is `timed_out`."""
    import concurrent.futures
    import multiprocessing

    for kind in (TimeoutError, concurrent.futures.TimeoutError, multiprocessing.TimeoutError):
        with pytest.raises(kind):
            pool.apply(gate.wait, timeout=0.05)
    (outcome,) = pool.outcomes(gate.wait, [0], timeout=0.05)
    assert outcome.kind is OutcomeKind.TIMED_OUT


class SlowToRead:
    """Waits at the gate when it is unpickled."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __reduce__(self) -> Any:
        return _read_slowly, (self.gate,)


def _read_slowly(gate: Gate) -> SlowToRead:
    gate.wait()
    return SlowToRead(gate)


@pytest.mark.parametrize("chunksize", [1, 5])
def test_reading_the_arguments_counts(pool: Any, gate: Gate, chunksize: int) -> None:
    """An item that hangs while it is unpickled times out, too."""
    items = [*range(4), SlowToRead(gate), *range(4)]
    found = pool.map(type, items, chunksize, timeout=LIMIT, on_error="return")
    assert [at for at, value in enumerate(found) if isinstance(value, TaskTimeout)] == [4]
    assert found.count(int) == 8


def test_large_results_before_a_timeout_are_kept(pool: Any, gate: Gate) -> None:
    """What was computed in the same chunk before the item that is killed arrives whole."""
    found = pool.map(functools.partial(fill_or_hang, gate), range(6), 6, timeout=LIMIT, on_error="return")
    assert [float(each[-1]) for each in found[:3]] == [0.0, 1.0, 2.0]
    assert isinstance(found[3], TaskTimeout)
    assert [float(each[-1]) for each in found[4:]] == [4.0, 5.0]


def fill_or_hang(gate: Gate, number: int) -> Any:
    """Give a large array; the third item hangs, deaf."""
    if number == 3:
        deafen(gate, 1)
    return np.full(200_000, float(number))


def test_a_frozen_worker_times_out(pool: Any, gate: Gate) -> None:
    """A worker that somebody has stopped reacts to nothing; its item ends all the same."""
    task = pool.options(timeout=LIMIT).submit(stop_self, gate)
    assert isinstance(task.exception(DEADLINE), TaskTimeout)
    assert pool.map(abs, range(100)) == list(range(100))


def stop_self(gate: Gate) -> None:
    """Freeze this process."""
    os.kill(os.getpid(), signal.SIGSTOP)
    gate.wait()


def test_callbacks_see_it(pool: Any, gate: Gate) -> None:
    """The error callback gets the TaskTimeout though nobody waits."""
    errors: list[BaseException] = []
    pool.apply_async(gate.wait, timeout=LIMIT, error_callback=errors.append)
    eventually(lambda: errors, DEADLINE)
    assert isinstance(errors[0], TaskTimeout)


def test_the_inline_backend_cannot() -> None:
    """A backend that cannot stop what runs says so at once."""
    with pytest.raises(procession.UnsupportedOption, match="no timeout"):
        procession.Pool(1, backend="inline", timeout=3)
    with procession.Pool(1, backend="inline") as pool, pytest.raises(procession.UnsupportedOption, match="no timeout"):
        pool.map(abs, [1], timeout=3)
