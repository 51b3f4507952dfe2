"""What makes loans of blocks go astray - items taken back, forks, cycles, callbacks - costs no memory in the end."""

from __future__ import annotations

import functools
import gc
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.helpers import arrays
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate

import procession

COUNT = 40_000  # 320 kB
DEADLINE = 60


def _second(array: Any) -> float:
    return float(array[1])


def second_after(gate: Gate, array: Any) -> float:
    """Give the array's second element; the one whose first is 1 waits at the gate."""
    if array[0] == 1:
        gate.wait()
    return _second(array)


def fork_and_second(array: Any) -> float:
    """Fork while the array is viewed, then give its second element."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return _second(array)


def _arrays(count: int, stuck: int = -1) -> list[Any]:
    made = []
    for number in range(count):
        array = np.full(COUNT, float(number))
        array[0] = number == stuck
        made.append(array)
    return made


def _used(pool: Any) -> int:
    """Bytes of the pool's blocks that are in use."""
    driver = pool._backend._driver
    with driver._lock:
        driver._collect()
    driver.store.has_room(1)
    used: int = driver.store._arena.used
    return used


@pytest.mark.parametrize("face", ["map_async", "imap", "submit"])
def test_items_that_are_taken_back_are_not_lent_twice(
    make_pool: Callable[..., Any], make_gate: Callable[[], Gate], face: str
) -> None:
    """What waited behind a stuck item, and was run elsewhere, is lent to nobody any more."""
    pool = make_pool(2)
    pool.map(_second, _arrays(60))
    for _ in range(3):
        gate = make_gate()
        items = _arrays(60, stuck=20)
        function = functools.partial(second_after, gate)
        if face == "map_async":
            result = pool.map_async(function, items)
            gate.open()
            values = result.get(DEADLINE)
        elif face == "imap":
            stream = pool.imap(function, items)
            values = [next(stream)]
            gate.open()
            values += list(stream)
        else:
            submitted = [pool.submit(function, item) for item in items]
            eventually(lambda: sum(task.done() for task in submitted) == 59)  # noqa: B023
            gate.open()
            values = [task.result(DEADLINE) for task in submitted]
        assert values == list(map(float, range(60)))
        del items
        eventually(lambda: _used(pool) == 0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_task_that_forks_costs_no_memory_for_good(make_pool: Callable[..., Any]) -> None:
    """What a fork pins goes with its worker, which is replaced in time."""
    pool = make_pool(1, block_memory="16MB")
    for number in range(100):
        assert pool.apply(fork_and_second, (np.full(COUNT, float(number)),)) == number
    assert len(pool._pool) == 1


def test_a_callback_may_send_more_than_there_is_room_for(make_pool: Callable[..., Any]) -> None:
    """Callbacks that submit, and wait for room, do not hold the room that they wait for."""
    pool = make_pool(2, block_memory="4MB")
    done: list[float] = []

    def go_on(value: float) -> None:
        done.append(value)
        if len(done) < 40:
            pool.apply_async(_second, (np.full(COUNT, float(len(done))),), callback=go_on)

    for _ in range(4):
        pool.apply_async(_second, (np.zeros(COUNT),), callback=go_on)
    eventually(lambda: len(done) >= 40, DEADLINE)


def test_an_item_that_cannot_be_sent_keeps_nothing(make_pool: Callable[..., Any]) -> None:
    """Blocks in the frames of an error's traceback come back whole, and can be written again."""
    pool = make_pool(2)
    for _ in range(4):
        items: list[Any] = [np.ones(400_000) for _ in range(8)]
        items[5] = [items[5], (number for number in range(3))]
        with pytest.raises(procession.NotPicklable):
            pool.map(len, items)
        assert pool.map(arrays.uniform_value, [np.full(400_000, 2.0)] * 8) == [2.0] * 8
    gc.collect()
    eventually(lambda: _used(pool) == 0)


def test_shared_arrays_cost_no_descriptor_each(make_pool: Callable[..., Any]) -> None:
    """As results, in queues, and in items that cannot be sent."""
    pool = make_pool(1)
    shared = procession.shared_array(10)
    queue = procession.Queue()

    def use() -> None:
        assert pool.apply(list, ([shared] * 3,))[0][0] == 0
        assert pool.apply(procession.shared_array, (3,)).tolist() == [0, 0, 0]
        queue.put(shared)
        assert queue.get(timeout=DEADLINE)[0] == 0
        with pytest.raises(procession.NotPicklable):
            pool.apply(len, ([shared, (n for n in range(3))],))

    use()
    before = arrays.descriptors(), pool.apply(arrays.descriptors)
    for _ in range(10):
        use()
    eventually(lambda: (arrays.descriptors(), pool.apply(arrays.descriptors)) <= before)
    queue.close()
    queue.join_thread()
    _stop_sharer()


def _stop_sharer() -> None:
    """End the standard library's thread that hands descriptors over."""
    from multiprocessing import resource_sharer

    resource_sharer.stop(DEADLINE)


def test_idle_memory_goes_back_to_the_system(make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing has been done for a while, the parent's recycled blocks have no memory behind them."""
    from procession.engine import relief, store

    monkeypatch.setattr(relief, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(store, "IDLE_SECONDS", 0.1)
    pool = make_pool(1)
    assert pool.map(_second, _arrays(20)) == list(map(float, range(20)))
    fd = pool._backend._driver.store.fileno()
    eventually(lambda: os.fstat(fd).st_blocks == 0)
    assert pool.map(_second, _arrays(5)) == list(map(float, range(5)))


def test_a_stuck_item_does_not_lose_what_is_in_the_socket(make_pool: Callable[..., Any]) -> None:
    """Outcomes that are posted and those that are only in the ledger arrive in order, each once."""
    pool = make_pool(2)
    for turn in range(10):
        outcomes = pool.outcomes(_grow, [(n, 300_000 if n % 3 else 3_000, turn) for n in range(120)])
        assert [len(outcome.value) for outcome in outcomes] == [300_000 if n % 3 else 3_000 for n in range(120)]


def _grow(item: tuple[int, int, int]) -> Any:
    number, size, turn = item
    if number % 17 == turn:  # longer than the others, so that it is looked at
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
    return np.zeros(size, np.uint8)
