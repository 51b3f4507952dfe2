"""Progress of maps and of the items that run: by item, also within a chunk, whatever the items are doing."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate
from tests.helpers.watched import watched_imap, watched_map

import procession
from procession import Progress

STEPS = 5


class Seen:
    """Keeps what a function is told."""

    def __init__(self) -> None:
        self.told: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        """Keep one."""
        self.told.append(progress)

    @property
    def done(self) -> set[int]:
        """The counts."""
        return {each.done for each in self.told}


class Opening(Seen):
    """Opens a gate when it is told what it has been waiting for."""

    def __init__(self, gate: Gate, when: Callable[[Progress], bool]) -> None:
        super().__init__()
        self._gate = gate
        self._when = when

    def __call__(self, progress: Progress) -> None:
        """Keep one, and open the gate if it is time."""
        super().__call__(progress)
        if self._when(progress):
            self._gate.open()


def busy(item: int) -> int:
    """Work for a moment."""
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end:
        pass
    return item


def hang_at_last(item: tuple[int, Gate | None]) -> int:
    """Wait at the gate, if there is one."""
    number, gate = item
    if gate is not None:
        gate.wait()
    return number


def tell(gate: Gate) -> str:
    """Tell how far it is, and wait until that has been seen."""
    procession.progress(3, "three of five", total=STEPS)
    gate.wait()
    return "done"


def tell_by_thread(gate: Gate) -> str:
    """Tell from another thread of the task."""
    thread = threading.Thread(target=procession.progress, args=(3, "by a thread"))
    thread.start()
    thread.join()
    gate.wait()
    return "done"


def tell_often(count: int) -> float:
    """Tell as fast as that goes; return the seconds."""
    begin = time.monotonic()
    for n in range(count):
        procession.progress(n, total=count)
    return time.monotonic() - begin


def tell_in_fork(_: object) -> int:
    """Tell in a fork of the worker, which is no worker; return its exit code."""
    pid = os.fork()
    if not pid:
        try:
            procession.progress(7)
            os._exit(3)
        finally:
            os._exit(4)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def tell_and_return(item: int) -> int:
    """Tell something and be done."""
    procession.progress(item, "told")
    return item


def tell_wrong(_: object) -> None:
    """Tell what is no number."""
    procession.progress("a lot")  # type: ignore[arg-type]


@pytest.mark.needs_processes("the items of one chunk")
def test_a_chunk_moves_by_items(subject: Any, make_pool: Callable[..., Any]) -> None:
    """While a long chunk goes on, the count moves, not only when it is done; and no outcome is lost or doubled."""
    seen = Seen()
    assert watched_map(make_pool(1), busy, range(300), progress=seen, chunksize=300) == list(range(300))
    assert len(seen.done - {0, 300}) >= 3
    assert seen.told[-1].done == 300


@pytest.mark.parametrize("mapped", [watched_map, watched_imap])
def test_what_is_done_shows_before_a_chunk_that_hangs(one_worker: Any, gate: Gate, mapped: Callable[..., Any]) -> None:
    """Of a chunk whose last item hangs, all others are counted."""
    seen = Opening(gate, lambda progress: progress.done == 9)
    items = [(number, None) for number in range(9)] + [(9, gate)]
    assert list(mapped(one_worker, hang_at_last, items, progress=seen)) == list(range(10))
    assert {9, 10} <= seen.done


def test_failures_are_counted(make_pool: Callable[..., Any]) -> None:
    """An item that fails is done, and failed."""
    seen = Seen()
    watched_map(make_pool(), tell_wrong, range(3), progress=seen)
    assert (seen.told[-1].done, seen.told[-1].failed) == (3, 3)


@pytest.mark.parametrize(
    ("function", "told"), [(tell, (3, 5, "three of five")), (tell_by_thread, (3, None, "by a thread"))]
)
@pytest.mark.needs_processes("a callback is called while the item waits")
def test_an_item_tells_how_far_it_is(
    make_pool: Callable[..., Any], gate: Gate, function: Callable[[Gate], str], told: tuple[Any, ...]
) -> None:
    """What a running item tells is seen while it runs, under its position, and not any more when it is done."""
    seen = Opening(gate, lambda progress: progress.tasks.get(0) == told)
    assert watched_map(make_pool(1), function, [gate], progress=seen) == ["done"]
    assert seen.told[-1].tasks == {}


def test_an_item_tells_in_this_process(gate: Gate) -> None:
    """Without workers, too; and a task that makes a map of its own is not taken for that one's items."""
    seen, within = Opening(gate, lambda progress: bool(progress.tasks)), Seen()
    with procession.Pool(1, backend="inline") as pool:

        def nested(item: Gate) -> str:
            watched_map(pool, tell_and_return, range(2), progress=within)
            return tell(item)

        assert watched_map(pool, nested, [gate], progress=seen) == ["done"]
    assert [dict(each.tasks) for each in seen.told if each.tasks] == [{0: (3, 5, "three of five")}]
    assert within.told[0].tasks == {0: (0, None, "told")}
    procession.progress(1)  # nobody hears it


@pytest.mark.needs_processes("the limit is of the messages")
def test_an_item_that_tells_too_often_sends_little(one_worker: Any) -> None:
    """Ten messages a second at most, whatever the item does: telling must not cost more than the work."""
    seen = Seen()
    (seconds,) = watched_map(one_worker, tell_often, [20_000], progress=seen)
    assert 0 < len([each for each in seen.told if each.tasks]) <= 10 * seconds + 2


def test_nobody_who_listens(one_worker: Any) -> None:
    """Without progress nothing is sent; what a task tells is checked all the same."""
    assert one_worker.map(tell_and_return, range(100)) == list(range(100))
    with pytest.raises(TypeError, match="n must be a number"):
        one_worker.apply(tell_wrong, (0,))
    with procession.Pool(1, backend="inline") as pool:
        assert pool.map(tell_and_return, range(2)) == [0, 1]


def test_a_fork_of_a_worker_tells_nothing(one_worker: Any) -> None:
    """A fork has no channel, so what it tells is dropped, and it goes on."""
    assert watched_map(one_worker, tell_in_fork, [0], progress=Seen()) == [3]


def test_a_callback_that_fails_costs_nothing(one_worker: Any) -> None:
    """It is not called any more, with a warning; every outcome is there."""
    calls: list[Progress] = []

    def callback(progress: Progress) -> None:
        calls.append(progress)
        raise LookupError("on purpose")

    with pytest.warns(RuntimeWarning, match="progress= has failed.*LookupError: on purpose"):
        assert watched_map(one_worker, busy, range(100), progress=callback) == list(range(100))
    assert len(calls) == 1


def test_time_goes_on_while_an_item_runs(one_worker: Any, gate: Gate) -> None:
    """A bar is drawn again while nothing comes in, since the time that has passed is part of it."""

    class Bar:
        def __init__(self) -> None:
            self.refreshed = 0

        def update(self, _n: int) -> None:
            pass

        def refresh(self) -> None:
            self.refreshed += 1
            if self.refreshed == 2:
                gate.open()

    bar = Bar()
    assert watched_map(one_worker, hang_at_last, [(1, gate)], progress=bar) == [1]
    assert bar.refreshed >= 2


def test_items_are_retried_while_they_are_watched(one_worker: Any, notes: Any) -> None:
    """An item that is tried again is counted once, when it has its outcome."""
    seen = Seen()

    def second_time(item: int) -> int:
        notes.write(item)
        if notes.texts().count(str(item)) == 1:
            raise OSError(item)
        return item

    assert watched_map(one_worker, second_time, range(5), progress=seen, retries=1) == list(range(5))
    assert (seen.told[-1].done, seen.told[-1].failed) == (5, 0)
    eventually(lambda: sorted(notes.texts()) == sorted([*"01234"] * 2))


@pytest.mark.parametrize("call", ["imap", "imap_unordered"])
def test_who_is_shown_the_progress_may_end_the_run(one_pool: Any, call: str) -> None:
    """From within the function that is told."""
    ended = False

    def tell(progress: Any) -> None:
        nonlocal ended
        if progress.done > 5 and not ended:
            ended = True
            result.close()

    result = getattr(one_pool, call)(abs, itertools.count(), progress=tell)
    for _ in result:
        pass
    assert ended
    assert one_pool.map(abs, [-1]) == [1]
