"""The fixture `subject` runs a test on each subject; markers leave out, at collection, what does not apply to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.pools import put_away

import procession

from .subjects import Subject, subjects

HERE = Path(__file__).parent
# 3.12 and later warn of any fork beside another thread of the operating system, and faulthandler's watchdog is one.
FORK_WARNING = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that names `subject`, itself or through a fixture, on each subject."""
    if "subject" in metafunc.fixturenames:
        cases = [
            pytest.param(subject, id=subject.name, marks=[FORK_WARNING] if subject.method == "fork" else [])
            for subject in subjects()
        ]
        metafunc.parametrize("subject", cases)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what a marker says does not apply to the item's subject."""
    left_out = [item for item in items if HERE in item.path.parents and not _applies(item)]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


def _applies(item: pytest.Item) -> bool:
    subject = item.callspec.params.get("subject") if hasattr(item, "callspec") else None
    if subject is None:
        return not (subjects()[0].is_stdlib and item.get_closest_marker("not_in_stdlib"))
    if subject.is_stdlib and item.get_closest_marker("not_in_stdlib"):
        return False
    return not (subject.backend == "inline" and item.get_closest_marker("needs_processes"))


@pytest.fixture(autouse=True)
def fresh_tasks() -> Iterator[None]:
    """Undo what an initializer that was run here, by the inline backend, has left in the module of the tasks."""
    tasks.forget()
    yield
    tasks.forget()


@pytest.fixture
def make_pool(subject: Subject, no_leaks: None) -> Iterator[Callable[..., Any]]:
    """Give a function that makes pools of the subject; they are terminated and joined at the end."""

    def make(processes: int | None = 2, *args: Any, **options: Any) -> Any:
        return subject.pool(processes, *args, **options)

    with put_away(make) as kept:
        yield kept


@pytest.fixture
def pool(make_pool: Callable[..., Any]) -> Any:
    """Give a pool of two workers."""
    return make_pool()


@pytest.fixture
def one_pool(no_leaks: None) -> Iterator[Any]:
    """Give a pool of two workers, of the default start method: for what has nothing to do with how they start."""
    with procession.Pool(2) as pool:
        yield pool
    pool.join()


@pytest.fixture
def one_worker(no_leaks: None) -> Iterator[Any]:
    """Give a pool of one worker, of the default start method: what it keeps is found again by the next task."""
    with procession.Pool(1) as pool:
        yield pool
    pool.join()


@pytest.fixture
def start(subject: Subject, no_leaks: None) -> Iterator[Callable[..., Any]]:
    """Give a function that starts a process of the subject; those that still run at the end are killed."""
    processes: list[Any] = []

    def begin(target: Any = None, *args: Any, **options: Any) -> Any:
        process = subject.context.Process(target=target, args=args, **options)
        process.start()
        processes.append(process)
        return process

    yield begin
    while processes:
        _put_away(processes.pop())


def _put_away(process: Any) -> None:
    try:
        process.kill()
        process.join()
        process.close()
    except ValueError:  # closed by the test
        pass


@pytest.fixture
def queue(subject: Subject, no_leaks: None) -> Iterator[Any]:
    """Give a queue of the subject, closed and flushed at the end."""
    made = subject.context.Queue()
    yield made
    made.close()
    made.join_thread()
