"""Locks, queues, pipes, shared values and proxies of managers are arguments like any others, by every start method."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers.eventually import eventually
from tests.helpers.scripts import Completed

import procession

METHODS = multiprocessing.get_all_start_methods()


def count(lock: Any, value: Any, array: Any, number: int) -> None:
    """Count the number in shared values."""
    with lock:
        value.value += number
    array[number] = number


def send(queue: Any, simple: Any, connection: Any, lock: Any, number: int) -> None:
    """Send the number in every way."""
    queue.put(number)
    simple.put(number)
    with lock:  # a pipe has one writer at a time
        connection.send(number)


def set_and_wait(event: Any, other: Any) -> bool:
    """Set one, wait for the other."""
    event.set()
    return bool(other.wait(20))


def acquire(semaphore: Any) -> bool:
    """Take one."""
    return bool(semaphore.acquire(timeout=20))


def echo(value: Any) -> Any:
    """Return what came."""
    return value


def append(proxy: Any, number: int) -> None:
    """Append the number to a list of a manager."""
    proxy.append(number)


@pytest.mark.parametrize("method", METHODS)
def test_locks_and_shared_values_are_arguments(method: str) -> None:
    """Made after the workers have started."""
    context = procession.get_context(method)
    with context.Pool(2) as pool:
        pool.map(abs, range(4))
        lock, value, array = context.Lock(), context.Value("i", 0), context.Array("i", 8)
        pool.starmap(count, [(lock, value, array, number) for number in range(8)])
        assert value.value == 28
        assert array[:] == list(range(8))
        semaphore = context.BoundedSemaphore(2)
        assert pool.apply(acquire, (semaphore,)) is pool.submit(semaphore.acquire).result(20) is True
        assert not semaphore.acquire(block=False)


@pytest.mark.parametrize("method", METHODS)
def test_queues_and_pipes_are_arguments(method: str) -> None:
    """Several workers write into them, and the parent reads."""
    context = procession.get_context(method)
    with context.Pool(2) as pool:
        pool.map(abs, range(4))
        queue, simple, lock = context.Queue(), context.SimpleQueue(), context.Lock()
        reader, writer = context.Pipe(duplex=False)
        pool.starmap(send, [(queue, simple, writer, lock, number) for number in range(8)])
        for read in (lambda: queue.get(timeout=20), simple.get, reader.recv):
            assert sorted(read() for _ in range(8)) == list(range(8))
        for each in (queue, simple, reader, writer):
            each.close()


@pytest.mark.parametrize("method", METHODS)
def test_events_are_arguments_of_single_calls(method: str) -> None:
    """Workers and parent wait for one another."""
    context = procession.get_context(method)
    with context.Pool(1) as pool:
        asked, answered = context.Event(), context.Event()
        task = pool.submit(set_and_wait, asked, answered)
        assert asked.wait(20)
        answered.set()
        assert task.result(20) is True


@pytest.mark.parametrize("method", METHODS)
def test_functions_may_hold_them(method: str) -> None:
    """In a closure, for all workers, also those that are started later; and they come back."""
    context = procession.get_context(method)
    lock, value, queue = context.Lock(), context.Value("i", 0), context.Queue()

    def add(number: int) -> int:
        with lock:
            value.value += number
        queue.put(number)
        return number

    with context.Pool(2, maxtasksperchild=1) as pool:
        assert pool.map(add, range(6), chunksize=1) == list(range(6))
        returned = pool.apply(echo, (lock,))
        with lock:
            assert not returned.acquire(block=False)
    assert value.value == 15
    assert sorted(queue.get(timeout=20) for _ in range(6)) == list(range(6))
    queue.close()


def test_proxies_of_managers_are_arguments() -> None:
    """As with the standard library."""
    with procession.Manager() as manager, procession.Pool(2) as pool:
        numbers = manager.list()
        pool.starmap(append, [(numbers, number) for number in range(6)])
        eventually(lambda: sorted(numbers) == list(range(6)))


def test_nothing_is_left_of_descriptors_that_were_passed() -> None:
    """A hundred calls with one queue leave one queue."""
    with procession.Pool(1) as pool:
        queue = procession.Queue()
        for _ in range(100):
            pool.submit(queue.put, 1).result(20)
        assert sum(queue.get(timeout=20) for _ in range(100)) == 100
        queue.close()
        fds = pool.apply(count_fds)
        pool.map(abs, range(10))
        assert pool.apply(count_fds) <= fds


def count_fds() -> int:
    """How many descriptors this process has."""
    import os

    return len(os.listdir("/proc/self/fd"))


def test_a_lock_that_cannot_be_passed_says_why() -> None:
    """One of the standard library's fork context exists only in forks."""
    lock = multiprocessing.get_context("fork").Lock()
    with (
        procession.Pool(1) as pool,
        pytest.raises(procession.NotPicklable, match=r"made by the fork context.*procession.Lock"),
    ):
        pool.submit(echo, lock)
    over = threading.Event()  # with a second thread nothing can be forked
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(procession.NotPicklable, match="made by the fork context"):
            procession.Pool(1, initializer=echo, initargs=(lock,))
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_standard_locks_with_a_name_can_be_passed(method: str) -> None:
    """As arguments and as `initargs`."""
    lock = multiprocessing.get_context(method).Lock()
    with procession.Pool(1, initializer=echo, initargs=(lock,)) as pool:
        assert pool.apply(acquire, (lock,))
        assert not lock.acquire(block=False)


def test_a_standard_lock_is_inherited_by_forks() -> None:
    """By the workers of a pool of the fork context, through `initargs`."""
    lock = multiprocessing.get_context("fork").Lock()
    with procession.get_context("fork").Pool(1, initializer=lock.acquire) as pool:
        pool.apply(abs, (1,))
        assert not lock.acquire(block=False)


def test_a_lock_lives_until_the_call_has_it() -> None:
    """Though nobody else keeps it."""
    with procession.Pool(1) as pool:
        assert pool.submit(acquire, procession.Lock()).result(20)
        assert pool.map(acquire, [procession.Lock() for _ in range(5)]) == [True] * 5


def test_many_calls_with_a_queue_take_few_descriptors() -> None:
    """However many are queued, they have one copy of each."""
    with procession.Pool(1) as pool:
        queue = procession.Queue()
        before = count_fds()
        tasks = [pool.submit(queue.put, number) for number in range(200)]
        assert count_fds() < before + 60
        for task in tasks:
            task.result(20)
        assert sorted(queue.get(timeout=20) for _ in range(200)) == list(range(200))
        queue.close()


def test_too_many_descriptors_in_one_item_are_an_error() -> None:
    """More than the kernel passes with a message."""
    queues = [procession.SimpleQueue() for _ in range(60)]
    with procession.Pool(1) as pool, pytest.raises(procession.NotPicklable, match="more than 200"):
        pool.submit(echo, queues)
    for queue in queues:
        queue.close()


def test_workers_are_forks_where_nothing_else_can_have_the_lock(script: Callable[..., Completed]) -> None:
    """As tqdm's `process_map` hands one over, on a Python whose default is fork; and it is told."""
    run = script(
        """
        import multiprocessing, warnings
        import procession

        def keep(given):
            global lock
            lock = given

        def work(number):
            with lock:
                return number * number

        lock = multiprocessing.get_context("fork").RLock()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with procession.ProcessPoolExecutor(2, initializer=keep, initargs=(lock,)) as executor:
                print(list(executor.map(work, range(4))))
        print([each.category.__name__ for each in caught])
        """
    )
    assert run.check().lines == ["[0, 1, 4, 9]", "['ForkFallback']"]
