"""Runs of many items: when they end early, how much of their input is read, and how many calls may wait."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate

import procession

pytestmark = pytest.mark.not_in_stdlib("these options are ours")
busy = pytest.mark.needs_processes("in the caller's process nothing is ever being waited for")


def collected(found: Any) -> list[Any]:
    """All that a call gives."""
    return list(found.get(60) if hasattr(found, "get") else found)


@pytest.mark.parametrize("call", ["map", "imap", "imap_unordered", "map_async"])
def test_the_first_values_are_enough(pool: Any, call: str) -> None:
    """`stop_when=3`: three values, and what is wrong is left out as `on_error` says."""
    found = getattr(pool, call)(tasks.odd, range(1000), stop_when=3, on_error="skip")
    values = collected(found)
    assert len(values) == 3
    assert all(value % 2 for value in values)


def test_in_order_the_first_values_are_the_first(pool: Any) -> None:
    """An iterator in order stops at the same value, whatever came first; and the input may be endless."""
    assert list(pool.imap(tasks.odd, itertools.count(), 4, stop_when=3, on_error="skip")) == [1, 3, 5]
    assert list(pool.imap(tasks.odd, itertools.count(), stop_when=lambda n: n > 20, on_error="skip"))[-1] == 21
    outcomes = list(pool.outcomes(tasks.odd, itertools.count(), stop_when=2))
    assert [outcome.kind.value for outcome in outcomes] == ["error", "ok", "error", "ok"]


@pytest.mark.parametrize("call", ["map", "imap", "imap_unordered", "map_async", "outcomes"])
def test_too_many_failures_end_the_run(pool: Any, call: str) -> None:
    """`max_failures=5`: the sixth is one too many, and the error has the values that there were."""
    how = {} if call == "outcomes" else {"on_error": "skip"}
    with pytest.raises(procession.TooManyFailures, match="max_failures=5 allows no more") as caught:
        collected(getattr(pool, call)(tasks.odd, range(1000), max_failures=5, **how))
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.failures == 6
    if call.startswith("map"):
        assert all(position == value for position, value in caught.value.results.items())


def test_as_many_failures_as_are_allowed(pool: Any) -> None:
    """They end nothing."""
    assert pool.map(tasks.odd, range(10), max_failures=5, on_error="skip") == [1, 3, 5, 7, 9]
    assert pool.map(tasks.odd, range(10), max_failures="50%", on_error="skip") == [1, 3, 5, 7, 9]


def test_a_pool_goes_on_after_a_run_that_was_over_early(pool: Any) -> None:
    """Nothing of it is left behind."""
    list(pool.imap(tasks.odd, itertools.count(), stop_when=3, on_error="skip"))
    with pytest.raises(procession.TooManyFailures):
        pool.map(tasks.odd, range(1000), max_failures=0, on_error="skip")
    assert pool.map(tasks.double, range(5)) == [0, 2, 4, 6, 8]


@busy
@pytest.mark.parametrize("call", ["imap", "outcomes"])
def test_the_window_bounds_what_is_read(pool: Any, call: str, make_gate: Callable[[], Gate]) -> None:
    """With a slow first item, and in order, so many items are read behind it and no more."""
    gate, read = make_gate(), []

    def items() -> Iterator[int]:
        for item in itertools.count():
            read.append(item)
            yield item

    stream = getattr(pool, call)(functools.partial(tasks.through_first, gate), items(), window=5)
    eventually(lambda: len(read) == 5, 20, describe=lambda: read)
    gate.wait_arrived()
    assert len(read) == 5
    gate.open()
    for _ in range(20):
        next(stream)
    assert len(read) <= 26
    stream.close()


@busy
def test_a_consumer_that_stops_reading_stops_the_input(pool: Any) -> None:
    """What nobody takes counts against the window."""
    read = []

    def items() -> Iterator[int]:
        for item in itertools.count():
            read.append(item)
            yield item

    stream = pool.imap_unordered(tasks.double, items(), window=8)
    for _ in range(3):
        next(stream)
    eventually(lambda: len(read) >= 8, 20, describe=lambda: len(read))
    assert len(read) <= 3 + 8
    stream.close()


@busy
def test_two_threads_share_an_iterator(pool: Any) -> None:
    """Each value goes to one of them."""
    stream, found = pool.imap(tasks.double, range(500), window=20), []
    threads = [threading.Thread(target=lambda: found.extend(stream)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [2 * n for n in range(500)]


def test_an_executor_reads_as_it_needs() -> None:
    """With `window=`, of an endless input too."""
    with procession.ProcessPoolExecutor(2, window=6) as executor:
        values = executor.map(tasks.double, itertools.count())
        assert list(itertools.islice(values, 10)) == [2 * n for n in range(10)]
        values.close()  # type: ignore[attr-defined]


def test_the_warm_pool_has_an_iterator() -> None:
    """`procession.imap`: several iterables, in order or not, of an endless input."""
    assert list(procession.imap(pow, [2, 3], [3, 2])) == [8, 9]
    assert sorted(procession.imap(tasks.double, range(50), ordered=False)) == [2 * n for n in range(50)]
    values = procession.imap(tasks.double, itertools.count())
    assert [next(values) for _ in range(3)] == [0, 2, 4]
    values.close()
    procession.shutdown()


def test_options_of_a_pool_hold_for_its_calls(make_pool: Callable[..., Any]) -> None:
    """Each may be changed by a view or a call."""
    pool = make_pool(2, stop_when=2, on_error="skip", chunksize=3, ordered=False)
    assert len(pool.map(tasks.odd, range(100))) == 2
    assert len(pool.map(tasks.odd, range(100), stop_when=4)) == 4
    view = pool.options(stop_when=None)
    assert sorted(view.imap(tasks.odd, range(10))) == [1, 3, 5, 7, 9]


@busy
def test_submit_waits_for_a_place(make_pool: Callable[..., Any], make_gate: Callable[[], Gate]) -> None:
    """With `max_pending=2` a third call waits until one is done, and `submit_nowait` refuses it."""
    gate = make_gate()
    pool = make_pool(2, max_pending=2)
    pending = [pool.submit(tasks.through, gate, n) for n in range(2)]
    with pytest.raises(procession.PoolFull, match="max_pending=2"):
        pool.submit_nowait(tasks.double, 1)
    with pytest.raises(procession.PoolFull):
        pool.options(retries=1).submit_nowait(tasks.double, 1)
    third: list[Any] = []
    thread = threading.Thread(target=lambda: third.append(pool.submit(tasks.double, 21)))
    thread.start()
    gate.wait_arrived(2)
    assert third == []
    gate.open()
    thread.join(60)
    assert third[0].result(60) == 42
    assert [task.result(60) for task in pending] == [0, 1]
    assert pool.submit_nowait(tasks.double, 2).result(60) == 4


@busy
def test_what_could_not_be_sent_takes_no_place(make_pool: Callable[..., Any]) -> None:
    """Nor does what was cancelled."""
    pool = make_pool(1, max_pending=1)
    with pytest.raises(procession.NotPicklable):
        pool.submit(tasks.double, threading.Lock())
    assert pool.submit_nowait(tasks.double, 1).result(60) == 2
    with procession.ProcessPoolExecutor(1, max_pending=1) as executor:
        assert [executor.submit(tasks.double, n).result() for n in range(3)] == [0, 2, 4]
