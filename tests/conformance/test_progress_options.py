"""Progress of real runs: by every call, within chunks, from inside of a task."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate

import procession

pytestmark = pytest.mark.not_in_stdlib("progress= is ours")
busy = pytest.mark.needs_processes("in the caller's process nothing is ever being waited for")


CALLS: dict[str, Callable[..., Any]] = {
    "map": lambda pool, f, items, **how: pool.map(f, items, **how),
    "imap": lambda pool, f, items, **how: list(pool.imap(f, items, **how)),
    "imap_unordered": lambda pool, f, items, **how: list(pool.imap_unordered(f, iter(items), **how)),
    "map_async": lambda pool, f, items, **how: pool.map_async(f, items, **how).get(60),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_item_is_counted_once(pool: Any, call: str) -> None:
    """And the last state is told when all are done, with what failed and was tried again."""
    seen: list[procession.Progress] = []
    CALLS[call](pool, tasks.odd, range(40), progress=seen.append, on_error="skip", retries=1)
    last = seen[-1]
    assert (last.done, last.failed, last.retried, last.total) == (40, 20, 20, 40)
    assert all(one.done <= other.done for one, other in itertools.pairwise(seen))


def test_an_executor_has_it_too() -> None:
    """By its options."""
    seen: list[procession.Progress] = []
    with procession.ProcessPoolExecutor(2, progress=seen.append) as executor:
        assert list(executor.map(abs, range(10))) == list(range(10))
    assert (seen[-1].done, seen[-1].total) == (10, 10)


def pass_last(gate: Gate, item: int) -> int:
    """Wait at the gate with item 9."""
    if item == 9:
        gate.wait()
    return item


@busy
def test_it_moves_within_a_chunk(make_pool: Callable[..., Any], make_gate: Callable[[], Gate]) -> None:
    """Ten items are handed out as one; nine of them are counted while the tenth runs."""
    gate = make_gate()
    seen: list[procession.Progress] = []
    pool = make_pool(1)
    result = pool.map_async(functools.partial(pass_last, gate), range(10), 10, progress=seen.append)
    gate.wait_arrived()
    eventually(lambda: result.wait(0.05) or (seen and seen[-1].done == 9), 20, describe=lambda: seen)
    gate.open()
    assert result.get(60) == list(range(10))
    assert seen[-1].done == 10


def tell(gate: Gate, item: int) -> int:
    """Tell of half of the work, and wait."""
    procession.progress(item, "half of it", total=2 * item)
    gate.wait()
    return item


@busy
def test_a_task_tells_how_far_it_is(make_pool: Callable[..., Any], make_gate: Callable[[], Gate]) -> None:
    """By its position, until it is done."""
    gate = make_gate()
    seen: list[procession.Progress] = []
    pool = make_pool(1)
    result = pool.map_async(functools.partial(tell, gate), [21], progress=seen.append)
    gate.wait_arrived()
    eventually(lambda: result.wait(0.05) or (seen and seen[-1].tasks == {0: (21, 42, "half of it")}), 20)
    gate.open()
    assert result.get(60) == [21]
    assert seen[-1].tasks == {}


def tell_often(item: int) -> int:
    """Tell again and again."""
    for n in range(1000):
        procession.progress(n)
    return item


def test_telling_is_harmless(pool: Any) -> None:
    """Where nobody looks, where somebody does, and outside of a task."""
    procession.progress(1)
    assert pool.map(tell_often, [1, 2]) == [1, 2]
    assert pool.map(tell_often, [1, 2], progress=lambda _progress: None) == [1, 2]
    with pytest.raises(TypeError, match="n must be a number"):
        procession.progress("half")  # type: ignore[arg-type]


def test_what_a_journal_had_is_counted(pool: Any, tmp_path: Any) -> None:
    """As done, and as replayed."""
    seen: list[procession.Progress] = []
    pool.map(abs, range(5), journal=tmp_path / "run.db")
    pool.map(abs, range(8), journal=tmp_path / "run.db", progress=seen.append)
    assert (seen[-1].done, seen[-1].replayed, seen[-1].total) == (8, 5, 8)


def test_a_wrong_value_is_said(pool: Any) -> None:
    """At the call."""
    with pytest.raises(TypeError, match="progress must be True, a description"):
        pool.map(abs, [1], progress=3)
