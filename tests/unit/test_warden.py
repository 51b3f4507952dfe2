"""How an item is stopped, with a clock that only the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procession.engine.warden import FREEZE_SECONDS, GRACE_SECONDS, Action, Stage, Warden
from procession.wire.ledger import Position


def _at(index: int, seq: int = 1) -> Position:
    return Position(seq, index, 0, reading=False)


def _step(warden: Warden, now: float, index: int | None, *, stop: bool = True, frozen: bool = False) -> Action:
    position = None if index is None else _at(index)
    return warden.step(now, position, must_stop=stop and index is not None, is_frozen=frozen)


def test_nothing_is_done_to_an_item_that_may_go_on() -> None:
    """An item without a reason to stop is left alone."""
    warden = Warden()
    assert _step(warden, 0, 3, stop=False) is Action.NONE
    assert warden.stage is Stage.IDLE


def test_it_is_asked_then_frozen_then_killed() -> None:
    """The exception first, again and again; after the grace the worker is frozen, and killed once it certainly is."""
    warden = Warden()
    assert _step(warden, 0, 3) is Action.ASK
    assert _step(warden, GRACE_SECONDS / 2, 3) is Action.ASK
    assert _step(warden, GRACE_SECONDS, 3) is Action.FREEZE
    assert _step(warden, GRACE_SECONDS + 0.01, 3) is Action.NONE
    assert _step(warden, GRACE_SECONDS + 0.02, 3, frozen=True) is Action.KILL
    assert _step(warden, GRACE_SECONDS + 0.03, 3, frozen=True) is Action.NONE


def test_a_worker_that_cannot_be_frozen_is_killed_all_the_same() -> None:
    """One that waits for the kernel begins nothing else."""
    warden = Warden()
    for now in (0.0, GRACE_SECONDS):
        _step(warden, now, 3)
    assert _step(warden, GRACE_SECONDS + FREEZE_SECONDS, 3) is Action.KILL


@pytest.mark.parametrize("index", [4, None])
def test_a_reply_that_races_the_freeze_wins(index: int | None) -> None:
    """A worker that turns out to have finished the item is released."""
    warden = Warden()
    for now in (0.0, GRACE_SECONDS):
        _step(warden, now, 3)
    assert warden.stage is Stage.FROZEN
    assert _step(warden, GRACE_SECONDS + 0.01, index, stop=False, frozen=True) is Action.RELEASE
    assert warden.stage is Stage.IDLE


def test_what_need_not_stop_any_more_is_let_be() -> None:
    """An item whose reading took too long, but that runs by now, has its own time; a frozen worker goes on."""
    warden = Warden()
    assert _step(warden, 0, 3) is Action.ASK
    assert _step(warden, 0.1, 3, stop=False) is Action.NONE
    assert warden.stage is Stage.IDLE
    for now in (0.2, 0.2 + GRACE_SECONDS):
        _step(warden, now, 3)
    assert warden.stage is Stage.FROZEN
    assert _step(warden, 1.3, 3, stop=False) is Action.RELEASE


def test_the_next_item_gets_a_grace_of_its_own() -> None:
    """What the item before has used up does not count."""
    warden = Warden()
    assert _step(warden, 0, 3) is Action.ASK
    assert _step(warden, GRACE_SECONDS * 0.9, 4) is Action.ASK
    assert _step(warden, GRACE_SECONDS * 1.5, 4) is Action.ASK
    assert _step(warden, GRACE_SECONDS * 2, 4) is Action.FREEZE


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 3), st.booleans(), st.booleans()), max_size=40))
def test_a_freeze_is_followed_by_a_kill_or_a_release(steps: list[tuple[float, int, bool, bool]]) -> None:
    """Whatever happens, no worker stays frozen, and none is killed that was not frozen on this very item."""
    warden = Warden()
    now = 0.0
    frozen_on: int | None = None
    for pause, index, stop, frozen in steps:
        now += pause
        action = _step(warden, now, index, stop=stop, frozen=frozen)
        if action is Action.FREEZE:
            assert frozen_on is None
            frozen_on = index
        elif action is Action.RELEASE:
            assert frozen_on is not None
            frozen_on = None
        elif action is Action.KILL:
            assert frozen_on == index
            break
        elif action is Action.ASK:
            assert frozen_on is None
