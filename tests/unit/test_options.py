"""The options of calls: what is right is taken, what is wrong says what would be."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from procession.checks import OnError, check_bytes, check_seconds
from procession.errors import TaskTimeout, WorkerDied
from procession.options import TaskOptions


def test_nothing_is_limited_by_default() -> None:
    """No timeout, no retries, and all items run before an error is raised."""
    options = TaskOptions()
    assert (options.timeout, options.retries, options.on_error) == (None, 0, OnError.RAISE)


def test_what_is_not_changed_stays() -> None:
    """Each change is on top of the last."""
    options = TaskOptions().changed({"timeout": 3}).changed({"retries": 2})
    assert (options.timeout, options.retries) == (3.0, 2)
    assert options.changed({}) is options
    assert options.changed({"timeout": None}).timeout is None


@pytest.mark.parametrize(
    ("given", "types"),
    [
        (OSError, (OSError,)),
        ((OSError, WorkerDied), (OSError, WorkerDied)),
        ([TaskTimeout], (TaskTimeout,)),
    ],
)
def test_one_exception_type_or_several(given: Any, types: tuple[type[BaseException], ...]) -> None:
    """`retry_on` is a type, or a tuple, list or set of them."""
    assert TaskOptions().changed({"retry_on": given}).retry_on == types


def test_the_delays_before_retries() -> None:
    """A number holds for all of them, the last of a list for those behind it; of an endless series, enough is taken."""
    options = TaskOptions().changed({"retries": 3})
    assert [options.changed({"backoff": 0.5}).delay(n) for n in range(3)] == [0.5, 0.5, 0.5]
    assert [options.changed({"backoff": [1, 2]}).delay(n) for n in range(3)] == [1, 2, 2]
    assert [options.changed({"backoff": itertools.count(1)}).delay(n) for n in range(3)] == [1, 2, 3]
    assert options.delay(0) == 0


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"timeout": 0}, ValueError, "timeout must be more than 0 seconds"),
        ({"timeout": -1}, ValueError, "timeout must be more than 0 seconds"),
        ({"timeout": float("nan")}, ValueError, "timeout"),
        ({"timeout": "5"}, TypeError, "timeout must be a number of seconds or None, not '5'"),
        ({"timeout": True}, TypeError, "timeout"),
        ({"retries": -1}, ValueError, "retries must be 0 or more"),
        ({"retries": 1.5}, TypeError, "retries must be an integer"),
        ({"retry_on": "OSError"}, TypeError, "retry_on must be an exception type"),
        ({"retry_on": (OSError, 3)}, TypeError, "retry_on must be an exception type"),
        ({"retries": 1, "backoff": [-1]}, ValueError, "backoff must be seconds of 0 or more"),
        ({"retries": 1, "backoff": "soon"}, TypeError, "backoff must be a number of seconds or an iterable"),
        ({"backoff": float("inf")}, ValueError, "backoff must be seconds of 0 or more"),
        ({"retries": 1, "backoff": object()}, TypeError, "backoff must be a number of seconds or an iterable"),
        ({"on_error": "ignore"}, ValueError, "on_error must be one of"),
        ({"time_out": 3}, TypeError, "time_out is no option of a call; there are timeout"),
    ],
)
def test_what_is_wrong_is_said_at_once(changes: dict[str, Any], kind: type[Exception], says: str) -> None:
    """The error names the option, what it must be, and what it was."""
    with pytest.raises(kind, match=says.replace("(", r"\(")):
        TaskOptions().changed(changes)


def test_an_endless_time_is_no_limit() -> None:
    """Infinity and None are the same."""
    assert check_seconds(float("inf"), "timeout") is None


@pytest.mark.parametrize(("text", "size"), [("300MB", 300 * 10**6), ("2 GiB", 2 * 2**30), (4096, 4096), (None, None)])
def test_sizes_may_have_units(text: Any, size: int | None) -> None:
    """A number of bytes, with a unit or without."""
    assert check_bytes(text, "memory_limit") == size


@pytest.mark.parametrize(
    ("name", "value", "needed", "enough"),
    [
        ("retry_on", OSError, "retries", 1),
        ("backoff", 1.0, "retries", 1),
        ("key", str, "journal", "run.db"),
        ("resume", "failed", "journal", "run.db"),
        ("on_change", "refuse", "journal", "run.db"),
    ],
)
def test_what_says_nothing_is_refused(name: str, value: Any, needed: str, enough: Any) -> None:
    """An option of a call that is about another one, which is not there; as a default it may wait for that."""
    options = TaskOptions().changed({name: value})
    with pytest.raises(ValueError, match=f"{name}= says something of {needed}=, and this call has no {needed}="):
        options.check_use([name])
    options.check_use([])
    options.check_use([name, needed])  # which turns it off
    options.changed({needed: enough}).check_use([name, needed])
