"""Which ends of workers a pool bears."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.engine.supervisor import End, Supervisor

FAILURES = (End.IDLE, End.UNSTARTED)
HARMLESS = (End.PLANNED, End.WITH_ITEM, End.UNUSED)


@pytest.mark.parametrize("end", HARMLESS)
@given(times=st.lists(st.floats(0, 1e6), max_size=50))
def test_planned_ends_and_costly_items_never_break_a_pool(end: End, times: list[float]) -> None:
    """However often a worker is recycled or dies of its item, the pool goes on."""
    supervisor = Supervisor(1)
    assert all(supervisor.on_end(end, now) for now in sorted(times))


@pytest.mark.parametrize("end", FAILURES)
@pytest.mark.parametrize(("workers", "limit"), [(1, 5), (5, 5), (8, 8), (64, 64)])
def test_a_pool_bears_so_many_failures_at_once(end: End, workers: int, limit: int) -> None:
    """As many workers as there are, and at least five, may end with nothing done; one more breaks the pool."""
    supervisor = Supervisor(workers)
    assert all(supervisor.on_end(end, 5.0) for _ in range(limit))
    assert not supervisor.on_end(end, 5.0)


def test_the_loss_of_a_server_is_one_failure() -> None:
    """All its workers end at once; servers that are lost again and again break the pool all the same."""
    supervisor = Supervisor(8)
    assert all(supervisor.on_end(End.LOST, 1.0) for _ in range(50))
    ends = [supervisor.on_end(End.LOST, 1.0 + n * Supervisor.LOSS_SECONDS) for n in range(1, 9)]
    assert ends == [True] * 7 + [False]


def test_old_failures_are_forgotten() -> None:
    """Failures that are spread wider than the window never add up."""
    supervisor = Supervisor(1)
    assert all(supervisor.on_end(End.IDLE, n * (Supervisor.WINDOW_SECONDS / 3 + 0.1)) for n in range(100))


def test_success_clears_the_record() -> None:
    """A worker that has run something shows that starting works."""
    supervisor = Supervisor(1)
    for _ in range(50):
        for _ in range(3):
            assert supervisor.on_end(End.UNSTARTED, 0.0)
        supervisor.on_success()


@given(
    events=st.lists(st.tuples(st.sampled_from([*FAILURES, *HARMLESS, None]), st.floats(0, 20)), max_size=80),
    workers=st.integers(1, 10),
)
def test_the_verdict_is_the_count_in_the_window(events: list[tuple[End | None, float]], workers: int) -> None:
    """A pool may go on as long as the failures since the last success, within the window, are within the limit."""
    supervisor, now, failures = Supervisor(workers), 0.0, []
    for end, later in events:
        now += later
        if end is None:
            supervisor.on_success()
            failures = []
            continue
        if end in FAILURES:
            failures.append(now)
        recent = [at for at in failures if at >= now - Supervisor.WINDOW_SECONDS]
        assert supervisor.on_end(end, now) == (end in HARMLESS or len(recent) <= max(5, workers))
