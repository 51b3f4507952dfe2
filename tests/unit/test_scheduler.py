"""Which worker gets which chunk, with sources that only count and a clock that only the test turns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from procession.engine.accounts import Accounts
from procession.engine.pace import CREDIT_LIMIT
from procession.engine.scheduler import Scheduler
from procession.engine.slots import Slot, SlotState
from procession.errors import InternalError, TaskCancelled

from .fakes import FakeSource


def _scheduler(workers: int, *, hot: int = 2, quota: int | None = None, ready: bool = True) -> Scheduler:
    made = Scheduler(workers, hot)
    for _ in range(workers):
        slot = made.add_slot(quota)
        if ready:
            made.on_ready(slot)
    return made


def _add(scheduler: Scheduler, source: FakeSource) -> FakeSource:
    scheduler.add_source(source)  # type: ignore[arg-type]
    return source


def _add_tiny(scheduler: Scheduler, *counts: int) -> FakeSource:
    """Queue items that are known to be tiny, so many at a time."""
    source = _add(scheduler, FakeSource(1, eager=True))
    _run_all(scheduler, 1e-6)
    for count in counts:
        source.add(count)
        _add(scheduler, source)
        scheduler.assign()
    return source


def _give_back(scheduler: Scheduler, chunks: list[Any], skip: int | None = None) -> Accounts:
    accounts = Accounts(scheduler)
    accounts.give_back(chunks, skip)
    return accounts


def _run_all(scheduler: Scheduler, seconds_per_item: float = 1e-3) -> list[tuple[int, int, int]]:
    """Run until nothing is left; return the chunks as (worker, start, count), in the order of their ends."""
    done = []
    scheduler.assign()
    while busy := scheduler.busy_slots():
        slot = min(busy, key=lambda each: each.chunks[0].seq)
        chunk = slot.chunks[0]
        done.append((slot.number, chunk.start, chunk.count))
        chunk.source.settle(chunk)  # type: ignore[attr-defined]
        scheduler.on_final(slot, chunk, chunk.count * seconds_per_item)
        scheduler.assign()
    return done


@pytest.mark.parametrize("seconds", [1e-7, 1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("chunksize", [None, 1, 7, 1000])
def test_every_item_is_given_out_once(seconds: float, eager: bool, chunksize: int | None) -> None:
    """Whatever the pace and the chunk size, each item is in exactly one chunk."""
    scheduler = _scheduler(3)
    source = _add(scheduler, FakeSource(5000 if seconds < 1e-2 else 50, chunksize=chunksize, eager=eager))
    _run_all(scheduler, seconds)
    assert source.outcomes == dict.fromkeys(range(source.total), 1)
    assert not scheduler.queued
    assert not scheduler.busy


def test_a_chosen_chunksize_is_kept() -> None:
    """Chunks of a size that the caller chose are of that size or a multiple, but for the last."""
    scheduler = _scheduler(2)
    _add(scheduler, FakeSource(1003, chunksize=10))
    done = _run_all(scheduler)
    assert all(count % 10 == 0 for _, start, count in done if start + count < 1003)


def test_long_items_are_not_queued_behind_each_other() -> None:
    """A worker that runs a long item has no other, so that whoever is free first takes the next."""
    scheduler = _scheduler(2)
    _add(scheduler, FakeSource(10))
    for slot, chunk in scheduler.assign():
        scheduler.on_final(slot, chunk, 0.2)
    scheduler.assign()
    assert [len(slot.chunks) for slot in scheduler.slots.values()] == [1, 1]


def test_quick_items_wait_in_the_worker() -> None:
    """A worker of quick tasks holds a few more than it runs, so that it never waits for the parent."""
    scheduler = _scheduler(1)
    _add(scheduler, FakeSource(1000, chunksize=1))
    [(slot, chunk)] = scheduler.assign()
    scheduler.on_final(slot, chunk, 10e-6)
    scheduler.assign()
    assert 1 < len(slot.chunks) <= CREDIT_LIMIT


def test_tiny_work_keeps_no_more_workers_awake_than_cores() -> None:
    """Of many idle workers, only as many as there are cores get tiny tasks."""
    scheduler = _scheduler(16, hot=2)
    _add(scheduler, FakeSource(3000, chunksize=1))
    done = _run_all(scheduler, 1e-6)
    late = {number for number, start, _ in done if start > 1500}
    assert len(late) <= 2


def test_backlogs_of_tiny_work_are_even() -> None:
    """Of the workers that are kept awake, whichever of them reports more often."""
    scheduler = _scheduler(2)
    _add_tiny(scheduler, 4000)
    first, second = (len(slot.chunks) for slot in scheduler.busy_slots())
    assert first + second > 4
    assert abs(first - second) <= 1


def test_a_few_tiny_items_wait_for_others() -> None:
    """While their worker has enough until its next report; then they are handed out."""
    scheduler = _scheduler(1, hot=1)
    _add_tiny(scheduler, 200, 200, 5)
    (slot,) = scheduler.busy_slots()
    assert [chunk.count for chunk in slot.chunks] == [200, 200]
    assert scheduler.shortage() == 0
    first, _second = slot.chunks
    scheduler.on_final(slot, first, 200e-6)
    ((_slot, chunk),) = scheduler.assign()
    assert chunk.count == 5


def test_nobody_else_waits_behind_a_few_tiny_items() -> None:
    """They are handed out when something else is queued, which gets the idle worker."""
    scheduler = _scheduler(2, hot=1)
    source = _add_tiny(scheduler, 40, 40, 5)
    other = _add(scheduler, FakeSource(1, 2))
    assert [(chunk.source, chunk.count) for _slot, chunk in scheduler.assign()] == [(source, 5), (other, 1)]


def test_sources_are_served_in_the_order_of_their_arrival() -> None:
    """The second source gets its turn when the first has nothing left to cut."""
    scheduler = _scheduler(1)
    first, second = _add(scheduler, FakeSource(3, 1)), _add(scheduler, FakeSource(3, 2))
    seen = []
    while assigned := scheduler.assign():
        for slot, chunk in assigned:
            seen.append(chunk.source)
            scheduler.on_final(slot, chunk, 0.5)
    assert seen == [first] * 3 + [second] * 3


def test_a_stream_gives_way_to_what_comes_after_it() -> None:
    """It may never end, so others get their turn after each of its chunks."""
    scheduler = _scheduler(1)
    stream = FakeSource(4, 1)
    stream.gives_way = True
    _add(scheduler, stream)
    other = _add(scheduler, FakeSource(2, 2))
    seen = []
    while assigned := scheduler.assign():
        for slot, chunk in assigned:
            seen.append(chunk.source)
            scheduler.on_final(slot, chunk, 0.5)
    assert seen == [stream, other, other, stream, stream, stream]


def test_a_source_is_queued_once() -> None:
    """However often it is announced; and it says so until it has nothing left."""
    scheduler = _scheduler(1)
    source = FakeSource(1)
    for _ in range(3):
        scheduler.add_source(source)  # type: ignore[arg-type]
    assert (scheduler.sources(), source.queued) == ([source], True)
    scheduler.assign()
    assert (scheduler.sources(), source.queued) == ([], False)


def test_a_worker_that_starts_holds_one_chunk() -> None:
    """A chunk may wait for its worker to be up; a second one does not."""
    scheduler = _scheduler(2, ready=False)
    _add(scheduler, FakeSource(10))
    assert len(scheduler.assign()) == 2
    assert scheduler.assign() == []
    assert scheduler.saturated


def test_shortage_is_what_could_be_busy() -> None:
    """As many workers are missing as there are items, up to the limit; none without work."""
    scheduler = Scheduler(4, 2)
    assert scheduler.shortage() == 0
    source = _add(scheduler, FakeSource(2))
    assert scheduler.shortage() == 2
    scheduler.drop_source(source)  # type: ignore[arg-type]
    _add(scheduler, FakeSource(100, chunksize=50))
    assert scheduler.shortage() == 2
    _add(scheduler, FakeSource(100))
    assert scheduler.shortage() == 4
    scheduler.add_slot(None)
    assert scheduler.shortage() == 3


def test_a_quota_is_kept() -> None:
    """A worker gets no more chunks than its quota; what is taken back does not count."""
    scheduler = _scheduler(1, quota=2)
    source = _add(scheduler, FakeSource(10))
    (slot,) = scheduler.slots.values()
    for _ in range(3):
        [(slot, chunk)] = scheduler.assign()
        _give_back(scheduler, scheduler.take_back(slot, {chunk.seq}))
    for _ in range(2):
        [(slot, chunk)] = scheduler.assign()
        scheduler.on_final(slot, chunk, 0.5)
    assert slot.quota == 0
    assert scheduler.assign() == []
    assert source.left() == 8


def test_a_retiring_worker_finishes_and_gets_no_more() -> None:
    """What a retiring worker holds is done; nothing new comes."""
    scheduler = _scheduler(1)
    _add(scheduler, FakeSource(5))
    [(slot, chunk)] = scheduler.assign()
    scheduler.retire(slot)
    scheduler.on_final(slot, chunk, 0.5)
    assert scheduler.assign() == []
    assert scheduler.remove_slot(slot) == []


def test_giving_back_skips_the_item_at_fault() -> None:
    """An item that has its outcome already is not given out again with its neighbours."""
    scheduler = _scheduler(1)
    source = _add(scheduler, FakeSource(5, chunksize=5))
    [(slot, chunk)] = scheduler.assign()
    _give_back(scheduler, scheduler.take_back(slot, {chunk.seq}), skip=2)
    _run_all(scheduler)
    assert source.outcomes == dict.fromkeys([0, 1, 3, 4], 1)


def test_what_is_cancelled_is_not_given_out_again() -> None:
    """Items of a chunk that is taken back have the outcomes that they are doomed to, the others run."""
    scheduler = _scheduler(1)
    source = _add(scheduler, FakeSource(5, chunksize=5))
    [(slot, chunk)] = scheduler.assign()
    error = TaskCancelled("")
    chunk.doom = {1: error, 3: error}
    accounts = _give_back(scheduler, scheduler.take_back(slot, {chunk.seq}))
    assert [args for _run, args in accounts.errands] == [(chunk, 3, 1, error), (chunk, 1, 1, error)]
    _run_all(scheduler)
    assert source.outcomes == dict.fromkeys([0, 2, 4], 1)


def test_an_item_that_failed_goes_to_another_worker() -> None:
    """One that is idle, or one that can still be started; the same if there is no other."""
    for workers, limit, expected in ((2, 2, 1), (1, 2, 0), (1, 1, 1)):
        scheduler = Scheduler(limit, 2)
        for _ in range(workers):
            scheduler.on_ready(scheduler.add_slot(None))
        source = _add(scheduler, FakeSource(1))
        [(slot, chunk)] = scheduler.assign()
        scheduler.on_final(slot, chunk, 0.1)
        source.give_back(chunk, 0, failed=True)
        scheduler.return_source(source)
        found = [each for each, _chunk in scheduler.assign()]
        assert len(found) == expected
        assert (slot in found) == (limit == 1)
        assert scheduler.shortage() == 1 - expected


def test_a_report_out_of_order_is_a_bug() -> None:
    """A worker that reports a chunk that it does not hold is an error, not silence."""
    scheduler = _scheduler(1)
    _add(scheduler, FakeSource(5))
    [(slot, chunk)] = scheduler.assign()
    scheduler.on_final(slot, chunk, 0.1)
    with pytest.raises((InternalError, ValueError)):
        scheduler.on_final(slot, chunk, 0.1)


def test_states_change_only_as_they_may() -> None:
    """A worker that is gone does not come back, and one that retires is not ready again."""
    for state in SlotState:
        gone = Slot(1, None)
        gone.become(SlotState.GONE)
        with pytest.raises(InternalError):
            gone.become(state)
    retiring = Slot(2, None)
    retiring.become(SlotState.RETIRING)
    with pytest.raises(InternalError):
        retiring.become(SlotState.READY)


class Life(RuleBasedStateMachine):
    """Random events; every item is at any time in one place: waiting, in one slot, or settled."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(3, 2)
        self.sources: list[FakeSource] = []
        self.lost: dict[FakeSource, set[int]] = {}

    @rule(
        total=st.integers(1, 60),
        function=st.integers(1, 2),
        chunksize=st.sampled_from([None, 1, 4]),
        eager=st.booleans(),
    )
    def add(self, total: int, function: int, chunksize: int | None, eager: bool) -> None:
        """More work."""
        source = FakeSource(total, function, chunksize, eager=eager)
        self.sources.append(_add(self.scheduler, source))
        self.lost[source] = set()

    @rule(quota=st.sampled_from([None, 1, 3]))
    def hire(self, quota: int | None) -> None:
        """Fill the places, if work wants them filled."""
        for _ in range(self.scheduler.shortage()):
            self.scheduler.add_slot(quota)

    @rule()
    def assign(self) -> None:
        """Hand out what can be handed out."""
        for slot, chunk in self.scheduler.assign():
            assert slot.state in (SlotState.STARTING, SlotState.READY)
            assert chunk in slot.chunks

    def _slots(self) -> list[Slot]:
        return list(self.scheduler.slots.values())

    @precondition(lambda self: self.scheduler.slots)
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        """A worker is up."""
        self.scheduler.on_ready(data.draw(st.sampled_from(self._slots())))

    @precondition(lambda self: self.scheduler.busy)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1e-6, 1e-4, 1e-2, 1.0]))
    def finish(self, data: st.DataObject, seconds: float) -> None:
        """A worker is done with its first chunk; a worker with no quota left retires."""
        slot = data.draw(st.sampled_from(self.scheduler.busy_slots()))
        chunk: Any = slot.chunks[0]
        self.scheduler.on_ready(slot)
        chunk.source.settle(chunk)
        self.scheduler.on_final(slot, chunk, seconds)
        if slot.quota == 0 and not slot.chunks and slot.state is not SlotState.RETIRING:
            self.scheduler.retire(slot)

    @precondition(lambda self: self.scheduler.busy)
    @rule(data=st.data())
    def unburden(self, data: st.DataObject) -> None:
        """What a worker has not begun is taken back."""
        slot = data.draw(st.sampled_from(self.scheduler.busy_slots()))
        _give_back(self.scheduler, self.scheduler.take_back(slot, {chunk.seq for chunk in list(slot.chunks)[1:]}))

    @precondition(lambda self: self.scheduler.slots)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A worker dies of the first item of its first chunk."""
        chunks = self.scheduler.remove_slot(data.draw(st.sampled_from(self._slots())))
        for chunk in reversed(chunks):
            source: Any = chunk.source
            first = 1 if chunk is chunks[0] else 0
            self.lost[source].update(range(chunk.start, chunk.start + first))
            if first < chunk.count:
                source.give_back(chunk, first)
                self.scheduler.return_source(source)

    @invariant()
    def every_item_is_in_one_place(self) -> None:
        """No item is lost, and none is in two places."""
        for source in self.sources:
            places = [*source.waiting, *source.outcomes.elements(), *self.lost[source]]
            for slot in self.scheduler.slots.values():
                for chunk in slot.chunks:
                    if chunk.source is source:
                        places += range(chunk.start, chunk.start + chunk.count)
            assert sorted(places) == list(range(source.total))

    def teardown(self) -> None:
        """With workers that live, all of it gets done."""
        for _ in range(10_000):
            for _ in range(self.scheduler.shortage()):
                self.scheduler.add_slot(None)
            for slot in self._slots():
                self.scheduler.on_ready(slot)
                if slot.state is SlotState.RETIRING and not slot.chunks:
                    self.scheduler.remove_slot(slot)
                elif slot.quota == 0 and not slot.chunks:
                    self.scheduler.retire(slot)
            self.scheduler.assign()
            for slot in self.scheduler.busy_slots():
                chunk: Any = slot.chunks[0]
                chunk.source.settle(chunk)
                self.scheduler.on_final(slot, chunk, 1e-4)
            if not self.scheduler.queued and not self.scheduler.busy:
                break
        self.every_item_is_in_one_place()
        assert not any(source.waiting for source in self.sources)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, database=None)
