"""Limits of a pool: memory, idleness, pools within pools; and what tells where a task hangs."""

from __future__ import annotations

import functools
import gc
import os
import re
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pytest
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate

import procession
from procession import WorkerDied

from .deadly import spin_deaf
from .faces import DEADLINE

MB = 1 << 20


def grow(megabytes: int) -> int:
    """Take memory, a piece at a time, and keep it to the end of the call."""
    kept = [bytearray(os.urandom(1 << 16)) * 16 for _ in range(megabytes)]
    return len(kept)


def grow_and_wait(gate: Gate, megabytes: int) -> int:
    """Take memory, and wait at the gate if that is let happen."""
    size = grow(megabytes)
    kept = bytearray(os.urandom(1 << 16)) * (16 * megabytes)
    if megabytes > 100:
        gate.wait()
    return size + len(kept) * 0


def test_who_takes_too_much_memory_is_killed(make_pool: Callable[..., Any], gate: Gate) -> None:
    """The item's error says so, with the numbers; the others are not concerned."""
    pool = make_pool(2, memory_limit="300MB")
    found = pool.map(functools.partial(grow_and_wait, gate), [1, 2, 500, 3, 4], 1, on_error="return")
    error = found[2]
    assert isinstance(error, WorkerDied)
    assert error.out_of_memory
    assert error.memory_limit == 300_000_000
    assert error.peak_memory is not None
    assert error.peak_memory > 300_000_000
    assert error.index == 2
    assert "more memory than memory_limit=300,000,000 bytes" in str(error)
    assert found[:2] + found[3:] == [1, 2, 3, 4]


class Hoard:
    """What takes the memory that others need."""


_hoards: list[weakref.ref[Hoard]] = []


def _hoard() -> Hoard:
    hoard = Hoard()
    _hoards.append(weakref.ref(hoard))
    return hoard


class UnreadableItem:
    """Its reading hoards, and fails."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return hoard_and, ("raise",)


class UnsendableValue:
    """It is a hoard that cannot be sent."""

    def __init__(self) -> None:
        self.hoard = _hoard()

    def __reduce__(self) -> NoReturn:
        raise TypeError("on purpose")


def hoards_kept() -> int:
    """How many there still are, of all that this process has made."""
    assert _hoards
    return sum(hoard() is not None for hoard in _hoards)


def hoard_and(end: str) -> Any:
    """Take memory, and end like this, or by returning how many hoards of others are left."""
    hoard = _hoard()  # noqa: F841  # a name that the frame keeps
    if end == "raise":
        raise ValueError("on purpose")
    if end == "exit":
        sys.exit(3)
    if end == "never":
        while True:
            pass
    if end == "unsendable":
        return UnsendableValue()
    return [end] if end == "list" else hoards_kept() - 1


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("end", ["raise", "exit", "never", "unsendable", "list", "unreadable"])
def test_an_item_that_is_over_keeps_no_memory(make_pool: Callable[..., Any], end: str, place: int, size: int) -> None:
    """Whatever its function held is free for the next one, and not only when the collector has run."""
    pool = make_pool(1, initializer=gc.disable)
    ends: list[Any] = ["count"] * 3
    ends[place] = UnreadableItem() if end == "unreadable" else end
    found = pool.map(hoard_and, ends, size, on_error="return", timeout=0.5 if end == "never" else None)
    assert isinstance(found.pop(place), list if end == "list" else BaseException)
    assert found == [0, 0]
    assert pool.apply(hoards_kept) == 0


_kept: list[bytes] = []


def keep(megabytes: int) -> int:
    """Take memory for good; give this process's pid."""
    _kept.append(os.urandom(megabytes * MB))
    return os.getpid()


def test_a_worker_that_has_grown_is_replaced(make_pool: Callable[..., Any]) -> None:
    """Between two chunks, so that nothing is lost."""
    pool = make_pool(1, max_memory="200MB")
    pids = pool.map(keep, [20] * 30, 1)
    assert len(pids) == 30
    assert 2 <= len(set(pids)) <= 10


def test_idle_workers_end_and_come_back(make_pool: Callable[..., Any]) -> None:
    """After `idle_timeout` without work; the next call has new ones."""
    pool = make_pool(2, idle_timeout=0.3)
    assert pool.map(abs, range(10), 1) == list(range(10))
    eventually(lambda: not pool._backend.worker_processes(), DEADLINE)
    assert pool.map(abs, range(10), 1) == list(range(10))
    eventually(lambda: not pool._backend.worker_processes(), DEADLINE)
    assert pool.apply(abs, (-3,)) == 3


def test_a_pool_in_use_keeps_its_workers(make_pool: Callable[..., Any]) -> None:
    """Work that comes more often than that keeps them."""
    pool = make_pool(1, idle_timeout=5)
    pids = {pool.apply(os.getpid) for _ in range(50)}
    assert len(pids) == 1


def test_an_item_that_stalls_is_named(make_pool: Callable[..., Any], gate: Gate) -> None:
    """Once, after the time that was given, with its worker; it goes on."""
    pool = make_pool(2, stall_warning=0.2)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = pool.map_async(functools.partial(wait_at, gate), range(2), 1)
        eventually(lambda: len(seen) == 2, DEADLINE)
    for warning in seen:
        assert issubclass(warning.category, procession.StallWarning)
        assert re.match(r"wait_at\([01]\) \(item [01]\) has been running for 0.\d+ s in worker", str(warning.message))
    gate.open()
    assert result.get(DEADLINE) == [0, 1]


def test_a_stall_is_no_error_where_warnings_are(make_pool: Callable[..., Any], gate: Gate) -> None:
    """The engine goes on; the warning is shown."""
    pool = make_pool(1, stall_warning=0.1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("error")
        task = pool.submit(wait_at, gate, 3)
        eventually(lambda: seen, DEADLINE)
    assert "has been running for" in str(seen[0].message)
    gate.open()
    assert task.result(DEADLINE) == 3


def wait_at(gate: Gate, number: int) -> int:
    """Wait at the gate."""
    gate.wait()
    return number


def test_stacks_show_what_is_stuck(pool: Any, gate: Gate) -> None:
    """Of a task that waits, of one that spins deaf to signals that can be ignored, and of an idle worker."""
    waiting = pool.submit(wait_at, gate, 7)
    gate.wait_arrived()
    stacks = pool.dump_stacks()
    row = next(each for each in stacks if each.item)
    assert row.item.startswith("wait_at(")
    assert "in wait_at" in row.stack
    assert row.seconds is not None
    assert row.seconds >= 0
    assert f"worker {row.worker}, running wait_at(" in str(stacks)
    gate.open()
    assert waiting.result(DEADLINE) == 7
    eventually(lambda: "waiting for work" in str(pool.dump_stacks()), DEADLINE)


def test_stacks_of_native_code(pool: Any) -> None:
    """Code that holds the interpreter has its Python frames shown, too."""
    task = pool.submit(spin_natively, 10**10)
    eventually(lambda: "in spin_natively" in str(pool.dump_stacks()), DEADLINE)
    task.cancel(interrupt=True)
    with pytest.raises(procession.TaskCancelled):
        task.result(DEADLINE)


def spin_natively(count: int) -> int:
    """Sum a long range, in C."""
    return sum(range(count))


def test_a_frozen_worker_has_no_stack(make_pool: Callable[..., Any]) -> None:
    """It does not answer, and holds up nobody for long."""
    pool = make_pool(1)
    pid = pool.apply(os.getpid)
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    (row,) = pool.dump_stacks()
    assert time.monotonic() - begin < 10
    assert row.stack == ""
    assert "no stack could be had" in str(row)
    os.kill(pid, signal.SIGCONT)
    assert pool.apply(os.getpid) == pid


def test_a_crash_after_a_dump_has_its_own_stack(pool: Any) -> None:
    """Not that of the dump."""
    pool.map(abs, range(10))
    assert len(pool.dump_stacks()) == 2
    error = pool.submit(crash).exception(DEADLINE)
    assert "Segmentation fault" in error.stack
    assert "in crash" in error.stack
    assert "waiting for work" not in error.stack
    assert "Where it was:" in str(error)


def crash() -> None:
    """Crash in native code."""
    import ctypes

    ctypes.string_at(0)


def complain_and_die(lines: int) -> None:
    """Write to stderr, and die."""
    import sys

    for number in range(lines):
        print(f"line {number} of a long complaint", file=sys.stderr)
    os._exit(7)


@pytest.mark.parametrize("lines", [3, 5000])
def test_the_last_lines_of_stderr_are_in_the_error(pool: Any, capfd: Any, lines: int) -> None:
    """Whole lines, and the last ones; they are still written where they belong."""
    error = pool.submit(complain_and_die, lines).exception(DEADLINE)
    assert error.stderr.splitlines()[-1] == f"line {lines - 1} of a long complaint"
    assert error.stderr.startswith("line ")
    assert len(error.stderr) <= 2048
    assert f"line {lines - 1} of" in str(error)
    assert error.seconds is not None


def test_a_program_may_be_asked_from_outside(script: Callable[..., Any]) -> None:
    """After `dump_stacks_on(SIGUSR1)` a `kill -USR1` prints all stacks, and the program goes on."""
    run = script(
        """
        import os, signal, threading, procession

        def stuck(path):
            open(path, "w").close()
            while os.path.exists(path):
                signal.sigtimedwait([], 0.01)
            return 5

        procession.dump_stacks_on(signal.SIGUSR1)
        pool = procession.Pool(1)
        task = pool.submit(stuck, "here")
        while not os.path.exists("here"):
            signal.sigtimedwait([], 0.01)
        read, write = os.pipe()
        saved = os.dup(2)
        os.dup2(write, 2)
        os.kill(os.getpid(), signal.SIGUSR1)
        text = b""
        while b"stuck" not in text or not text.endswith(b"\\n"):
            text += os.read(read, 4096)
        os.dup2(saved, 2)
        print(text.decode())
        os.unlink("here")
        print(task.result())
        pool.terminate()
        """
    )
    run.check()
    assert ", running stuck('here')" in run.stdout
    assert "in stuck" in run.stdout
    assert run.stdout.endswith("5\n")


def nest(depth: int) -> Any:
    """Make a pool in which the same runs again."""
    with procession.Pool() as pool:
        return [pool._processes, *(pool.map(nest, [depth - 1])[0] if depth else [])]


def test_pools_in_pools_share_the_cores(make_pool: Callable[..., Any]) -> None:
    """A pool that does not say how many workers it wants gets its part of the cores, never less than one."""
    pool = make_pool(64)
    assert pool.map(nest, [2], 1) == [[1, 1, 1]]


def explode(workers: int) -> int:
    """Run itself in a pool of its own, without end."""
    with procession.Pool(workers) as pool:
        return int(pool.map(explode, [workers] * workers)[0])


@pytest.mark.parametrize("workers", [1, 64])
def test_a_fork_bomb_does_not_go_off(pool: Any, workers: int) -> None:
    """A task that runs itself in a pool ends with an error, and the machine lives."""
    with pytest.raises(procession.NestingLimit, match="Does a task make a pool that runs itself"):
        pool.map(explode, [workers])


def test_a_worker_whose_exit_hangs_is_killed(make_pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """`join` returns although an exit function of a worker does not."""
    from procession.engine import core, enforcer

    monkeypatch.setattr(enforcer, "EXIT_SECONDS", 0.5)
    monkeypatch.setattr(core, "EXIT_SECONDS", 0.5)
    pool = make_pool(1)
    pool.apply(hang_at_exit)
    pool.close()
    begin = time.monotonic()
    pool.join()
    assert time.monotonic() - begin < 10


def hang_at_exit() -> None:
    """Have this process hang when it should end."""
    import atexit

    atexit.register(signal.pause)


def test_a_deaf_task_does_not_outlive_its_pool(gate: Gate) -> None:
    """Leaving the `with` block ends a task that ignores all signals."""
    with warnings.catch_warnings(), procession.Pool(1) as pool:
        pool.submit(spin_deaf, gate)
        gate.wait_arrived()
        (worker,) = pool._pool
    assert not worker.is_alive()


def test_memory_that_is_shared_does_not_count(make_pool: Callable[..., Any]) -> None:
    """Blocks that the parent lends are not the worker's own."""
    pool = make_pool(1, memory_limit="250MB")
    array = np.ones(60_000_000)
    assert pool.map(_first, [array] * 20, 1) == [1.0] * 20


def _first(array: Any) -> float:
    return float(array[0]) + float(array[::512].sum()) * 0


def test_a_memory_limit_too_small_to_start_with_is_said(make_pool: Callable[..., Any]) -> None:
    """Workers that are killed for it before they can run anything break the pool; it says why."""
    pool = make_pool(2, memory_limit="1MB")
    with pytest.raises(procession.PoolBroken, match="memory_limit=1,000,000"):
        pool.map(abs, range(10))
