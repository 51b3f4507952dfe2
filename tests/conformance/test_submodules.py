"""What submodules make without being given a context is of the start method that was set, as what the package makes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers.scripts import Completed

from .subjects import METHODS, Subject, subjects

LIBRARY = subjects()[0].library
pytestmark = pytest.mark.needs_processes("it is about processes")


@pytest.mark.parametrize("method", METHODS)
def test_shared_values_go_to_children(script: Callable[..., Completed], method: str) -> None:
    """`sharedctypes.Value` and `Array` have locks that a child of the method may have."""
    run = script(f"""
        import {LIBRARY} as mp
        from {LIBRARY}.sharedctypes import Array, Value, synchronized, RawValue

        def change(value, array, raw):
            with value.get_lock(), raw:
                value.value += 1
                array[1] = 5
                raw.value = 7

        if __name__ == "__main__":
            mp.set_start_method("{method}")
            given = Value("i", 1), Array("i", [1, 2]), synchronized(RawValue("i", 0))
            process = mp.Process(target=change, args=given)
            process.start()
            process.join()
            print(process.exitcode, given[0].value, list(given[1]), given[2].value)
    """)
    assert run.check().lines == ["0 2 [1, 5] 7"]


@pytest.mark.parametrize("method", METHODS)
def test_managers_are_processes_of_the_method(script: Callable[..., Completed], method: str) -> None:
    """Managers of every kind are started by the method; what is registered with one class is unknown to another."""
    run = script(f"""
        import {LIBRARY} as mp
        from {LIBRARY}.managers import BaseManager, SharedMemoryManager, SyncManager

        class Asked:
            def method(self):
                return mp.get_start_method()

        class Own(BaseManager):
            pass

        Own.register("Asked", Asked)

        if __name__ == "__main__":
            mp.set_start_method("{method}")
            with Own() as own:
                print(own.Asked().method(), hasattr(own, "dict"))
            with mp.Manager() as manager:
                print(isinstance(manager, SyncManager), hasattr(manager, "Asked"), manager.dict(a=1).copy())
                pool = manager.Pool(2)
                print(pool.map(abs, [-1, -2]), pool.apply_async(abs, [-3]).get(60))
                pool.terminate()
            with SharedMemoryManager() as memory:
                print(list(memory.ShareableList([1, "two"])))
    """)
    lines = [f"{method} False", "True False {'a': 1}", "[1, 2] 3", "[1, 'two']"]
    assert run.check().lines == lines


@pytest.mark.not_in_stdlib("its pools wait for ever for what a dead worker has held")
def test_the_pool_of_a_manager_survives_its_workers(script: Callable[..., Completed]) -> None:
    """It is one of ours: a dead worker costs its task."""
    run = script("""
        import os
        import procession

        if __name__ == "__main__":
            with procession.Manager() as manager:
                pool = manager.Pool(2)
                dying = pool.apply_async(os._exit, [3])
                try:
                    dying.get(60)
                except procession.WorkerDied as error:
                    print(error.exitcode, pool.apply(abs, [-1]))
                pool.terminate()
    """)
    assert run.check().lines == ["3 1"]


def put_level(queue: Any, library: str) -> None:
    """Put the level of the package's logger into the queue."""
    queue.put(sys.modules[library].get_logger().getEffectiveLevel())


def test_a_child_logs_as_much_as_its_parent(start: Callable[..., Any], queue: Any, subject: Subject) -> None:
    """The level of `get_logger` is the child's, too."""
    logger = subject.module.get_logger()
    before = logger.level
    logger.setLevel(logging.CRITICAL + 7)
    try:
        start(put_level, queue, subject.library)
        assert queue.get(timeout=60) == logging.CRITICAL + 7
    finally:
        logger.setLevel(before)


def lose_streams(how: str) -> None:
    """Have no standard output and error that could be flushed."""
    for name in ("stdout", "stderr"):
        if how == "closed":
            getattr(sys, name).close()
        else:
            setattr(sys, name, None)


@pytest.mark.parametrize("how", ["closed", "removed"])
def test_a_child_without_streams_ends_well(start: Callable[..., Any], how: str) -> None:
    """Closing or removing `sys.stdout` in a child is no error."""
    process = start(lose_streams, how)
    process.join(60)
    assert process.exitcode == 0
