"""`retries=`: failed items are tried again, as often as asked for, and nothing else ever is."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

import procession
from procession import OutcomeKind, TaskTimeout, WorkerDied

from .faces import DEADLINE, FACES, Face


def fail_at_first(notes: Notes, failures: int, how: str, number: int) -> int:
    """Note the number; fail in the given way as long as it has not been noted often enough; then double it."""
    notes.write(number)
    if notes.texts().count(str(number)) <= failures:
        if how == "raise":
            raise OSError(number)
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time_out()
    return 2 * number


def time_out() -> None:
    """Do not return."""
    while True:
        signal.pause()


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
@pytest.mark.parametrize("how", ["raise", "die"])
def test_every_face_tries_again(make_pool: Callable[..., Any], notes: Notes, face: Face, how: str) -> None:
    """Each item fails twice, and its third try counts; each is tried three times and no more."""
    pool = make_pool(2, retries=2)
    assert face.run(pool, functools.partial(fail_at_first, notes, 2, how), range(6)) == [2 * n for n in range(6)]
    assert Counter(notes.texts()) == {str(n): 3 for n in range(6)}


def test_the_last_error_is_the_outcome(pool: Any, notes: Notes) -> None:
    """When all tries have failed; they are on record."""
    task = pool.options(retries=2).submit(fail_at_first, notes, 9, "raise", 5)
    error = task.exception(DEADLINE)
    assert (type(error), error.args) == (OSError, (5,))
    assert [attempt.kind for attempt in task.attempts] == [OutcomeKind.ERROR] * 3
    assert task.attempts[-1].error is error
    assert len(notes.lines()) == 3


def test_every_try_is_on_record(pool: Any, notes: Notes) -> None:
    """Of a task, and of an outcome: those that failed, and the last one."""
    task = pool.options(retries=5).submit(fail_at_first, notes, 1, "die", 1)
    assert task.result(DEADLINE) == 2
    assert [attempt.kind for attempt in task.attempts] == [OutcomeKind.DIED, OutcomeKind.OK]
    assert isinstance(task.attempts[0].error, WorkerDied)
    found = list(pool.outcomes(functools.partial(fail_at_first, notes, 1, "raise"), [2, 3], retries=1))
    assert [[attempt.kind for attempt in each.attempts] for each in found] == [[OutcomeKind.ERROR, OutcomeKind.OK]] * 2
    assert pool.submit(abs, -1).attempts == ()


def test_a_timeout_may_be_tried_again(pool: Any, notes: Notes) -> None:
    """TaskTimeout is an error like others."""
    work = functools.partial(fail_at_first, notes, 1, "hang")
    assert pool.map(work, range(3), timeout=0.2, retries=1, retry_on=TaskTimeout) == [0, 2, 4]
    assert Counter(notes.texts()) == {str(n): 2 for n in range(3)}


def test_only_what_was_asked_for_is_tried_again(pool: Any, notes: Notes) -> None:
    """Another error is the outcome at once."""
    work = functools.partial(fail_at_first, notes, 9, "raise")
    assert type(pool.map(work, [1], retries=3, retry_on=WorkerDied, on_error="return")[0]) is OSError
    assert type(pool.map(work, [2], retries=1, retry_on=(KeyError, OSError), on_error="return")[0]) is OSError
    assert notes.texts() == ["1", "2", "2"]


def test_a_second_try_is_somewhere_else(pool: Any, notes: Notes) -> None:
    """With another worker free, an item that failed goes there."""
    for number in range(20):
        assert pool.apply(fail_at_first, (notes, 1, "raise", number), retries=1) == 2 * number
    pids = [pid for pid, _text in notes.lines()]
    assert all(first != second for first, second in zip(pids[::2], pids[1::2], strict=True))


def test_with_one_worker_it_is_the_same(make_pool: Callable[..., Any], notes: Notes) -> None:
    """Better there than nowhere."""
    assert make_pool(1).apply(fail_at_first, (notes, 2, "raise", 3), retries=2) == 6


def test_it_waits_before_the_next_try(pool: Any, notes: Notes) -> None:
    """As long as `backoff` says, of which an endless series may be given; others run meanwhile."""
    begin = time.monotonic()
    task = pool.options(retries=2, backoff=(0.1 * n for n in itertools.count(1))).submit(
        fail_at_first, notes, 2, "raise", 1
    )
    assert pool.map(abs, range(10)) == list(range(10))
    assert task.result(DEADLINE) == 2
    assert time.monotonic() - begin >= 0.3


def test_a_closed_pool_does_its_retries(make_pool: Callable[..., Any], notes: Notes) -> None:
    """Closing takes no more work; an item that waits for its next try is none."""
    pool = make_pool(2)
    task = pool.options(retries=1, backoff=0.2).submit(fail_at_first, notes, 1, "raise", 4)
    notes.wait_for(1)
    pool.close()
    pool.join()
    assert task.result(0) == 8


def test_a_terminated_pool_cancels_them(make_pool: Callable[..., Any], notes: Notes) -> None:
    """An item that waits for its next try is cancelled with the rest."""
    pool = make_pool(1)
    task = pool.options(retries=1, backoff=1000).submit(fail_at_first, notes, 1, "raise", 4)
    eventually(lambda: pool._backend._driver._core.delayed)
    pool.terminate()
    assert task.cancelled()


def test_a_waiting_retry_can_be_cancelled(pool: Any, notes: Notes) -> None:
    """It has its outcome at once, and is not tried again."""
    task = pool.options(retries=1, backoff=1000).submit(fail_at_first, notes, 1, "raise", 4)
    eventually(lambda: pool._backend._driver._core.delayed)
    assert task.cancel(interrupt=True)
    with pytest.raises(procession.TaskCancelled):
        task.result(DEADLINE)


def spoil_and_fail(notes: Notes, array: Any) -> float:
    """Give the sum; at the first try, write into the array, and fail."""
    total = float(array.sum())
    array[:] = -1.0
    notes.write(total)
    if notes.texts().count(str(total)) == 1:
        raise OSError
    return total


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
def test_every_try_gets_what_was_sent(make_pool: Callable[..., Any], notes: Notes, face: Face) -> None:
    """A large array into which a try has written is as it was for the next."""
    pool = make_pool(1, retries=1)
    arrays = [np.full(100_000, float(n)) for n in range(3)]
    assert face.run(pool, functools.partial(spoil_and_fail, notes), arrays) == [100_000.0 * n for n in range(3)]


def test_nothing_runs_twice_unless_asked(make_pool: Callable[..., Any], notes: Notes) -> None:
    """Without `retries`, workers killed at any time never cause an item to begin again."""
    pool = make_pool(2)
    found = pool.imap_unordered(functools.partial(note_and_die_sometimes, notes), range(400), 7, on_error="return")
    kinds = Counter(type(each) for each in found)
    assert kinds[int] + kinds[WorkerDied] == 400
    assert kinds[WorkerDied] == len([n for n in range(400) if n % 23 == 5])
    assert Counter(notes.texts()) == {str(n): 1 for n in range(400)}


def note_and_die_sometimes(notes: Notes, number: int) -> int:
    """Note the number, and die of some."""
    notes.write(number)
    if number % 23 == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_what_cannot_be_pickled_is_not_tried_again(pool: Any, gate: Gate) -> None:
    """It would fail in the same way."""
    bad = (number for number in range(3))
    with pytest.raises(procession.NotPicklable):
        pool.map(len, [[1], bad], retries=3)


def test_the_inline_backend_tries_again_too(notes: Notes) -> None:
    """In the calling thread."""
    with procession.Pool(1, backend="inline", retries=2) as pool:
        assert pool.map(functools.partial(fail_at_first, notes, 2, "raise"), range(3)) == [0, 2, 4]
        task = pool.submit(fail_at_first, notes, 1, "raise", 9)
        assert task.result() == 18
        assert len(task.attempts) == 2
