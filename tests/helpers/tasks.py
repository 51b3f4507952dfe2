"""Importable functions that tests send to workers. Each does one plain thing."""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

from tests.helpers.gates import Gate, Notes

state: Any = None
calls = 0


class InputError(Exception):
    """Raised by an input iterable."""


def identity(item: Any) -> Any:
    """The item itself."""
    return item


def none(_item: Any) -> None:
    """Nothing."""


def double(x: Any) -> Any:
    """Return twice x."""
    return x * 2


def add(x: int, y: int = 0, *, z: int = 0) -> int:
    """Return the sum."""
    return x + y + z


def fail(text: object = "failed on purpose", *_: object) -> None:
    """Raise ValueError with the text."""
    raise ValueError(text)


def fail_if_odd(x: int) -> int:
    """Return x, or raise ValueError if it is odd."""
    if x % 2:
        raise ValueError(x)
    return x


def fail_chained() -> None:
    """Raise ValueError from KeyError."""
    try:
        raise KeyError("the inner error")
    except KeyError as error:
        raise ValueError("the outer error") from error


def throw(error: type[BaseException], *args: Any, **kwargs: Any) -> None:
    """Raise an error made here."""
    raise error(*args, **kwargs)


def pid(*_: object) -> int:
    """Return the pid."""
    return os.getpid()


def pid_through(gate: Gate, *_: object) -> int:
    """Return the pid once the gate is open."""
    gate.wait()
    return os.getpid()


def odd(item: int) -> int:
    """Return odd items; even ones are wrong."""
    if item % 2 == 0:
        raise ValueError(item)
    return item


def through_first(gate: Gate, item: int) -> int:
    """Wait at the gate with item 0; return the item."""
    if item == 0:
        gate.wait()
    return item


def through(gate: Gate, value: Any = None) -> Any:
    """Wait at the gate, then return the value."""
    gate.wait(value)
    return value


def through_gate_of(gate: Gate) -> Callable[[Any], Any]:
    """Return a task of one argument that waits at the gate."""
    return functools.partial(through, gate)


def through_if(gate: Gate, stop_at: Any, value: Any) -> Any:
    """Wait at the gate if value is `stop_at`, then return the value."""
    if value == stop_at:
        gate.wait(value)
    return value


def fail_through(gate: Gate, text: str) -> None:
    """Wait at the gate, then raise ValueError."""
    gate.wait()
    raise ValueError(text)


def through_or_fail(gate: Gate, good: bool) -> None:
    """Wait at the gate if good, else raise ValueError at once and note the arrival."""
    if good:
        gate.wait()
        return
    gate.arrivals.write("failing")
    raise ValueError("failed at once")


def note(notes: Notes, x: Any) -> Any:
    """Write x down and return it."""
    notes.write(x)
    return x


def note_or_fail(notes: Notes, x: int) -> int:
    """Write x down, then raise ValueError if it is odd."""
    notes.write(x)
    return fail_if_odd(x)


def set_state(value: Any) -> None:
    """Keep the value in this module: an initializer."""
    global state, calls
    state = value
    calls += 1


def set_state_and_note(notes: Notes, value: Any) -> None:
    """Keep the value and write down that it was done: an initializer that can be counted."""
    notes.write(value)
    set_state(value)


def forget() -> None:
    """Undo `set_state`, in this process."""
    global state, calls
    state, calls = None, 0


def get_state(*_: object) -> Any:
    """Return what the initializer kept, and how often it ran in this process."""
    return state, calls


def keep_lock_and_counter(lock: Any, counter: Any) -> None:
    """Keep a lock and a shared counter: an initializer."""
    set_state((lock, counter))


def count_up(_: object) -> None:
    """Add one to the shared counter under the lock, with a window in which an unlocked addition would be lost."""
    lock, counter = state
    with lock:
        before = counter.value
        time.sleep(0)
        counter.value = before + 1


def make_adder(n: int) -> Callable[[int], int]:
    """Return a closure."""
    return lambda x: x + n


def make_lock(*_: object) -> Any:
    """Return a lock, which cannot be pickled."""
    return threading.Lock()


def make_generator(*_: object) -> Iterator[int]:
    """Return a generator, which cannot be pickled."""
    return (n for n in range(3))


def make_bytes(size: int) -> bytes:
    """Return so many bytes."""
    return b"x" * size


def failing_input(good: int) -> Iterator[int]:
    """Give 0, 1, ... and raise InputError at index `good`."""
    yield from range(good)
    raise InputError(good)


class FailingSequence:
    """Knows its length, as a list does, and raises InputError at index `good`."""

    def __init__(self, length: int, good: int) -> None:
        self.length = length
        self.good = good

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return failing_input(self.good)


def worker_identity(gate: Gate, _: object = None) -> tuple[str, tuple[int, ...], int]:
    """Return name, `_identity` and pid of the current process once the gate is open."""
    import multiprocessing

    gate.wait()
    me = multiprocessing.current_process()
    return me.name, tuple(me._identity), os.getpid()


def put(queue: Any, *values: Any, **named: Any) -> None:
    """Put the arguments on a queue."""
    queue.put((values, named))


def put_facts(queue: Any) -> None:
    """Put what this process knows about itself on a queue."""
    import multiprocessing

    me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    assert parent is not None
    queue.put(
        {
            "pid": os.getpid(),
            "current.pid": me.pid,
            "name": me.name,
            "daemon": me.daemon,
            "authkey": bytes(me.authkey),
            "parent.pid": parent.pid,
            "parent.alive": parent.is_alive(),
            "parent.name": parent.name,
            "children": multiprocessing.active_children(),
            "stdin": sys.stdin.read(),
        }
    )


def put_surroundings(queue: Any, variable: str) -> None:
    """Put the working directory, the search path and an environment variable on a queue."""
    queue.put((os.getcwd(), list(sys.path), os.environ.get(variable)))


def echo(conn: Any) -> None:
    """Send back what comes, until None does; not until the end of the stream: a forked child holds both ends."""
    with conn:
        while (value := conn.recv()) is not None:
            conn.send(value)


def hold_and_release(lock: Any, gate: Gate) -> None:
    """Hold the lock while the gate is shut."""
    with lock:
        gate.wait()


def answer_event(asked: Any, answered: Any) -> None:
    """Set the second event when the first one is set."""
    asked.wait()
    answered.set()


def raise_values(value: Any, array: Any) -> None:
    """Add one to a shared value and to each element of a shared array."""
    with value.get_lock():
        value.value += 1
    for index in range(len(array)):
        array[index] += 1


def meet(barrier: Any) -> None:
    """Wait at a barrier."""
    barrier.wait(20)


def work_off(queue: Any) -> None:
    """Take items of a JoinableQueue until None comes."""
    while queue.get() is not None:
        queue.task_done()
    queue.task_done()


def notify(condition: Any, flag: Any) -> None:
    """Raise the flag and wake those who wait on the condition."""
    with condition:
        flag.value = 1
        condition.notify_all()


def finish_in_thread(gate: Gate, notes: Notes) -> None:
    """Return at once and leave a non-daemon thread behind that still has something to write."""
    threading.Thread(target=_note_through, args=(gate, notes)).start()


def _note_through(gate: Gate, notes: Notes) -> None:
    gate.wait()
    notes.write("thread done")


def inner_pool(library: str, method: str, n: int) -> list[int]:
    """Map inside a task, on a pool made here."""
    import importlib

    context = importlib.import_module(library).get_context(method)
    with context.Pool(2) as pool:
        return list(pool.map(double, range(n)))


def inner_process(library: str, method: str, notes: Notes) -> int | None:
    """Start a process inside a task and return its exit code."""
    import importlib

    process = importlib.import_module(library).get_context(method).Process(target=note, args=(notes, "inner"))
    process.start()
    process.join()
    code: int | None = process.exitcode
    process.close()
    return code


def wait_for_fd(sentinel: int, timeout: float) -> bool:
    """Say whether a sentinel becomes ready within the time."""
    return connection.wait([sentinel], timeout) == [sentinel]
