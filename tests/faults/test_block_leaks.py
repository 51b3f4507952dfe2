"""What makes loans of blocks go astray - items taken back, forks, cycles, callbacks - costs no memory in the end."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import arrays
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate

import procession
from procession.mapping.single import SingleCalls
from procession.options import TaskOptions

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
    with driver._core.lock:
        driver.room.collect()
    driver._core.store.has_room(1)
    used: int = driver._core.store._arena.used
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
    from procession.engine import room, store

    monkeypatch.setattr(room, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(store, "IDLE_SECONDS", 0.1)
    pool = make_pool(1)
    assert pool.map(_second, _arrays(20)) == list(map(float, range(20)))
    fd = pool._backend._driver._core.store.fileno()
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


class _Unreadable:
    """A callable with an array, which workers cannot unpickle as long as the gate is shut."""

    def __init__(self, path: str, parent: int, array: Any) -> None:
        self.path = path
        self.parent = parent
        self.array = array

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        if os.getpid() != self.parent and not os.path.exists(self.path):
            raise ValueError("not yet")

    def __call__(self, array: Any) -> float:
        return float(self.array[1] + array[1])


def test_a_function_that_could_not_be_unpickled_is_sent_anew(make_pool: Callable[..., Any], tmp_path: Path) -> None:
    """Every item says why, what was lent for it comes back, and later the same function runs."""
    pool = make_pool(2)
    path = tmp_path / "ready"
    function = _Unreadable(str(path), os.getpid(), np.full(COUNT, 0.5))
    for _ in range(3):
        errors = pool.map(function, _arrays(40), 1, on_error="return")
        assert {(type(error), str(error)) for error in errors} == {(ValueError, "not yet")}
    path.touch()
    assert pool.map(function, _arrays(40), 1) == [number + 0.5 for number in range(40)]
    del function
    pool.map(abs, range(4))
    eventually(lambda: _used(pool) == 0)


_kept: list[Any] = []


def keep(array: Any) -> int:
    """Keep the array for good."""
    _kept.append(array)
    return len(_kept)


def test_a_callback_that_can_never_have_room_is_told(make_pool: Callable[..., Any]) -> None:
    """When workers keep all arrays, who sends more from a callback gets a MemoryError, and the pool goes on."""
    pool = make_pool(1, block_memory="4MB")
    errors: list[BaseException] = []

    def go_on(_count: int) -> None:
        try:
            pool.apply_async(keep, (np.ones(COUNT),), callback=go_on)
        except MemoryError as error:
            errors.append(error)

    pool.apply_async(keep, (np.ones(COUNT),), callback=go_on)
    eventually(lambda: errors, DEADLINE)
    assert "block_memory=4,000,000" in str(errors[0])
    assert pool.apply(abs, (-3,)) == 3


def test_an_item_for_which_no_descriptor_is_left_fails_alone(make_pool: Callable[..., Any]) -> None:
    """Its error says so; with descriptors to be had again, the pool goes on."""
    pool = make_pool(1)
    pool.apply(abs, (-1,))
    shared = procession.shared_array(10)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    packed = pool._backend.encode(((shared,), {}), "call")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    spare = []
    try:
        with contextlib.suppress(OSError):
            while True:
                spare.append(os.dup(0))
        task = procession.Task(pool._backend)
        function = pool._backend.intern(len, thorough=False)
        pool._backend.append(SingleCalls, function, TaskOptions(), (task, *packed))
        error = task.exception(DEADLINE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in spare:
            os.close(descriptor)
    assert isinstance(error, procession.SendFailed)
    assert "ulimit -n" in str(error)
    assert pool.apply(len, (shared,)) == 10
