"""How a Pool begins and ends: workers, initializers, close, terminate, join."""

from __future__ import annotations

import gc
import multiprocessing.pool
import os
import pickle
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

from .subjects import Subject

DEADLINE = 60
processes_only = pytest.mark.needs_processes("in the caller's process there are no workers")


def _gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


# --------------------------------------------------------------------------------------------------------- beginning


@pytest.mark.parametrize("processes", [0, -1])
def test_a_pool_has_at_least_one_worker(subject: Subject, processes: int) -> None:
    """A number of workers below one is a ValueError."""
    with pytest.raises(ValueError):
        subject.pool(processes)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1"])
def test_maxtasksperchild_is_none_or_a_positive_integer(subject: Subject, limit: object) -> None:
    """Any other `maxtasksperchild` is a ValueError."""
    with pytest.raises(ValueError):
        subject.pool(1, maxtasksperchild=limit)


def test_the_initializer_is_callable(subject: Subject) -> None:
    """An initializer that cannot be called is a TypeError when the pool is made."""
    with pytest.raises(TypeError):
        subject.pool(1, initializer=3)


@processes_only
def test_a_pool_has_as_many_workers_as_asked(make_pool: Callable[..., Any]) -> None:
    """`len(pool._pool)` and `pool._processes` are the number of workers, which real clients read."""
    pool = make_pool(3)
    pool.map(tasks.double, range(3))
    assert pool._processes == 3
    assert len(pool._pool) == 3


@processes_only
def test_the_default_is_a_worker_for_each_cpu(make_pool: Callable[..., Any]) -> None:
    """Without a number there is a worker for each CPU that may be used, and never more than the machine has."""
    pool = make_pool(None)
    assert 1 <= pool._processes <= (os.cpu_count() or 1)
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]


@processes_only
def test_tasks_run_in_the_listed_workers(make_pool: Callable[..., Any], gate: Gate) -> None:
    """The processes in `pool._pool` are the workers: alive, with the pids that the tasks see."""
    pool = make_pool(2)
    result = pool.starmap_async(tasks.pid_through, [(gate, n) for n in range(2)], 1)
    here = gate.wait_arrived(2)
    assert {worker.pid for worker in pool._pool} == set(here)
    assert all(worker.is_alive() for worker in pool._pool)
    gate.open()
    result.get(DEADLINE)


@processes_only
def test_a_worker_has_a_name_and_an_identity(make_pool: Callable[..., Any], gate: Gate) -> None:
    """`current_process()` in a task is a "...PoolWorker-N" with an `_identity` of its own, which users index by."""
    pool = make_pool(2)
    result = pool.starmap_async(tasks.worker_identity, [(gate,), (gate,)], 1)
    gate.wait_arrived(2)
    gate.open()
    (name, identity, _), (other_name, other_identity, _) = result.get(DEADLINE)
    assert "PoolWorker-" in name
    assert "PoolWorker-" in other_name
    assert identity
    assert all(isinstance(number, int) and number > 0 for number in identity + other_identity)
    assert identity != other_identity


def test_a_pool_passes_for_the_standard_one(pool: Any) -> None:
    """A pool is an instance of `multiprocessing.pool.Pool`."""
    assert isinstance(pool, multiprocessing.pool.Pool)


def test_the_class_of_a_pool_makes_pools(subject: Subject, pool: Any) -> None:
    """`pool.__class__(n, ...)` makes another pool, as wrappers do."""
    options: dict[str, Any] = {} if subject.backend == "processes" else {"backend": subject.backend}
    context = {} if subject.backend != "processes" else {"context": subject.context}
    with pool.__class__(1, **options, **context) as other:
        assert other.map(tasks.double, [1]) == [2]
        other.close()
        other.join()


def test_the_submodule_has_the_pools(subject: Subject) -> None:
    """`.pool.Pool` takes a context, `.pool.ThreadPool` has the same calls."""
    import importlib

    module = importlib.import_module(f"{subject.library}.pool")
    with module.ThreadPool(2) as threads:
        assert threads.map(lambda x: x + 1, range(4)) == [1, 2, 3, 4]
        assert threads.apply(os.getpid) == os.getpid()
        threads.close()
        threads.join()
    with module.Pool(1, context=subject.context) as pool:
        assert pool.apply(tasks.double, (2,)) == 4
        pool.close()
        pool.join()


# ------------------------------------------------------------------------------------------------------ initializers


def test_the_initializer_runs_before_the_tasks(make_pool: Callable[..., Any]) -> None:
    """`initializer(*initargs)` has run once in a worker before its first task, in the module that its tasks read."""
    pool = make_pool(2, tasks.set_state, ("ready",))
    results = set(pool.map(tasks.get_state, range(20), 1))
    assert {value for value, _ in results} == {"ready"}


@processes_only
def test_the_initializer_runs_once_in_each_worker(make_pool: Callable[..., Any], gate: Gate, notes: Notes) -> None:
    """Each worker runs the initializer exactly once, whatever the number of tasks."""
    pool = make_pool(2, initializer=tasks.set_state_and_note, initargs=(notes, "x"))
    result = pool.starmap_async(tasks.pid_through, [(gate, n) for n in range(2)], 1)
    here = gate.wait_arrived(2)
    gate.open()
    result.get(DEADLINE)
    pool.map(tasks.double, range(50), 1)
    assert sorted(notes.pids()) == sorted(here)


def test_a_lock_may_be_given_to_the_initializer(subject: Subject, make_pool: Callable[..., Any]) -> None:
    """Locks and shared values reach the workers through `initargs`, and are the same ones everywhere."""
    lock, counter = subject.context.Lock(), subject.context.Value("i", 0, lock=False)
    pool = make_pool(2, tasks.keep_lock_and_counter, (lock, counter))
    pool.map(tasks.count_up, range(200), 5)
    assert counter.value == 200


@pytest.mark.not_in_stdlib("workers are restarted for ever and the caller hangs (gh-87472)")
def test_an_initializer_that_raises_fails_the_call_with_its_traceback(subject: Subject) -> None:
    """When the initializer raises, the waiting calls soon raise an error that shows where and why."""
    began = time.monotonic()
    with pytest.raises(Exception, match=r".") as caught, subject.pool(2, tasks.fail, ("no database",)) as pool:
        pool.map(tasks.double, range(10))
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "no database" in text
    assert "in fail" in text
    assert time.monotonic() - began < 20


@pytest.mark.not_in_stdlib("workers are restarted for ever and the caller hangs (gh-87472)")
def test_a_pool_whose_initializer_raised_can_be_put_away(make_pool: Callable[..., Any]) -> None:
    """After a failed initializer every call raises, and close, terminate and join return."""
    pool = make_pool(1, tasks.fail, ("no database",))
    for _ in range(2):
        with pytest.raises(Exception, match="no database"):
            pool.apply(tasks.double, (1,))
    pool.close()
    pool.join()


# ---------------------------------------------------------------------------------------------------- recycled workers


@processes_only
@pytest.mark.parametrize("limit", [1, 3])
def test_a_worker_is_replaced_after_its_share_of_tasks(make_pool: Callable[..., Any], limit: int) -> None:
    """With `maxtasksperchild=n` no process runs more than n tasks, and all tasks are done."""
    pool = make_pool(1, maxtasksperchild=limit)
    pids = [pool.apply(tasks.pid) for _ in range(2 * limit + 1)]
    assert max(Counter(pids).values()) <= limit
    assert len(set(pids)) >= 3


@processes_only
def test_replaced_workers_lose_nothing(make_pool: Callable[..., Any]) -> None:
    """A long map over workers that are replaced all the time gives every value in order."""
    pool = make_pool(2, maxtasksperchild=2)
    assert pool.map(tasks.double, range(24), 1) == [2 * n for n in range(24)]
    assert sorted(pool.imap_unordered(tasks.double, range(12))) == [2 * n for n in range(12)]


@processes_only
def test_a_replacement_runs_the_initializer(make_pool: Callable[..., Any]) -> None:
    """A worker that takes another's place is initialised, too."""
    pool = make_pool(1, tasks.set_state, ("ready",), maxtasksperchild=1)
    assert [pool.apply(tasks.get_state) for _ in range(3)] == [("ready", 1)] * 3


# -------------------------------------------------------------------------------------------- close, terminate, join


def _calls(pool: Any) -> list[Callable[[], Any]]:
    return [
        lambda: pool.apply(tasks.double, (1,)),
        lambda: pool.apply_async(tasks.double, (1,)),
        lambda: pool.map(tasks.double, [1]),
        lambda: pool.map_async(tasks.double, [1]),
        lambda: pool.starmap(tasks.add, [(1,)]),
        lambda: pool.starmap_async(tasks.add, [(1,)]),
        lambda: pool.imap(tasks.double, [1]),
        lambda: pool.imap_unordered(tasks.double, [1]),
    ]


@pytest.mark.parametrize("ending", ["close", "terminate"])
def test_a_pool_that_was_ended_refuses_work(make_pool: Callable[..., Any], ending: str) -> None:
    """After `close` or `terminate` every call is a ValueError."""
    pool = make_pool()
    getattr(pool, ending)()
    for call in _calls(pool):
        with pytest.raises(ValueError, match=r"not running|closed|terminated"):
            call()
    pool.join()


def test_join_needs_close_or_terminate_before(make_pool: Callable[..., Any]) -> None:
    """`join` of a running pool is a ValueError."""
    with pytest.raises(ValueError):
        make_pool().join()


def test_close_lets_submitted_work_finish(make_pool: Callable[..., Any]) -> None:
    """After `close`, what was submitted is still done; `join` returns when it is, and the workers are gone."""
    pool = make_pool()
    results = [pool.apply_async(tasks.double, (n,)) for n in range(50)]
    mapped = pool.map_async(tasks.double, range(50), 3)
    lazy = pool.imap(tasks.double, range(5))
    pool.close()
    pool.join()
    assert all(result.ready() for result in results)
    assert [result.get(0) for result in results] == [2 * n for n in range(50)]
    assert mapped.get(0) == [2 * n for n in range(50)]
    assert list(lazy) == [0, 2, 4, 6, 8]


@processes_only
def test_the_workers_are_gone_after_join(make_pool: Callable[..., Any]) -> None:
    """When `join` has returned no worker is left, not even as a zombie."""
    for ending in ("close", "terminate"):
        pool = make_pool()
        pids = list(set(pool.map(tasks.pid, range(20), 1)))
        getattr(pool, ending)()
        pool.join()
        assert _gone(pids)


@processes_only
def test_terminate_does_not_wait_for_tasks(make_pool: Callable[..., Any], gate: Gate) -> None:
    """`terminate` stops tasks that run and forgets those that wait."""
    pool = make_pool(2)
    pool.map_async(tasks.through_gate_of(gate), range(100), 1)
    here = gate.wait_arrived(2)
    pool.terminate()
    pool.join()
    assert _gone(here)
    assert len(gate.arrivals.lines()) <= 4, "a worker may take one more while the pool is being stopped"


@processes_only
@pytest.mark.not_in_stdlib("get() waits for ever after terminate")
def test_terminate_ends_every_waiting_call(make_pool: Callable[..., Any], gate: Gate) -> None:
    """What was running or queued at `terminate` ends with an error for those who wait for it."""
    pool = make_pool(1)
    results = [pool.apply_async(tasks.through, (gate,)) for _ in range(3)]
    mapped = pool.map_async(tasks.double, range(5))
    lazy = pool.imap(tasks.double, range(5))
    gate.wait_arrived(1)
    pool.terminate()
    for result in [*results, mapped]:
        with pytest.raises(BaseException, match=r".*") as caught:
            result.get(DEADLINE)
        assert not isinstance(caught.value, multiprocessing.TimeoutError)
    with pytest.raises(BaseException, match=r".*") as caught:
        lazy.next(DEADLINE)
    assert not isinstance(caught.value, multiprocessing.TimeoutError)


@processes_only
def test_leaving_the_with_block_terminates(subject: Subject, gate: Gate) -> None:
    """`__exit__` is `terminate`: work that nobody has waited for is dropped."""
    with subject.pool(1) as pool:
        pool.apply_async(tasks.through, (gate,))
        here = gate.wait_arrived(1)
    eventually(lambda: _gone(here))
    with pytest.raises(ValueError):
        pool.apply(tasks.double, (1,))
    pool.join()


def test_with_gives_the_pool_and_passes_errors_on(subject: Subject) -> None:
    """`with pool as p` gives the pool itself, and an error inside the block leaves it."""
    pool = subject.pool(1)
    with pytest.raises(LookupError, match="inside: True"), pool as given:
        tasks.throw(LookupError, f"inside: {given is pool}")
    pool.join()


def test_a_pool_that_was_ended_cannot_be_entered(make_pool: Callable[..., Any]) -> None:
    """`with` on a pool that no longer runs is a ValueError."""
    pool = make_pool(1)
    pool.close()
    with pytest.raises(ValueError), pool:
        pass
    pool.join()


def test_endings_may_be_repeated(make_pool: Callable[..., Any]) -> None:
    """`close`, `terminate` and `join` may be called again, in any order that begins with an end."""
    pool = make_pool(1)
    pool.apply(tasks.double, (1,))
    pool.close()
    pool.close()
    pool.join()
    pool.join()
    pool.terminate()
    pool.terminate()
    pool.join()


def test_an_idle_pool_ends_at_once(make_pool: Callable[..., Any]) -> None:
    """A pool that never had any work closes, terminates and joins like others."""
    for ending in ("close", "terminate"):
        pool = make_pool()
        getattr(pool, ending)()
        pool.join()


def test_a_pool_cannot_be_pickled(pool: Any) -> None:
    """Pickling a pool is a NotImplementedError."""
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


@processes_only
def test_a_pool_collected_while_it_runs_warns_and_ends(subject: Subject) -> None:
    """A pool that is dropped without an end gives a ResourceWarning, and its workers go."""
    pool = subject.pool(1)
    pids = [pool.apply(tasks.pid)]
    with pytest.warns(ResourceWarning):  # noqa: PT031
        del pool
        gc.collect()
    eventually(lambda: _gone(pids))


@processes_only
def test_repr_says_what_a_pool_is(make_pool: Callable[..., Any]) -> None:
    """`repr` has the class, the state and the number of workers."""
    pool = make_pool(2)
    assert "Pool" in repr(pool)
    assert "RUN" in repr(pool)
    assert "2" in repr(pool)
    pool.close()
    assert "CLOSE" in repr(pool)
    pool.join()


@processes_only
def test_many_pools_may_live_at_once(make_pool: Callable[..., Any]) -> None:
    """Pools do not know of each other."""
    pools = [make_pool(1) for _ in range(3)]
    results = [pool.map_async(tasks.pid, range(3)) for pool in pools]
    pids = [set(result.get(DEADLINE)) for result in results]
    assert len(set.union(*pids)) == 3
