"""A bell wakes the one who waits, once, whenever it was rung."""

from __future__ import annotations

import threading

from procession.engine.bell import Bell


def test_a_bell_rung_before_ends_the_next_wait_only() -> None:
    """Ringing twice is ringing once."""
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0)


def test_a_hushed_bell_has_not_been_rung() -> None:
    """What was rung before is forgotten."""
    bell = Bell()
    bell.ring()
    bell.hush()
    assert not bell.wait(0)


def test_a_bell_wakes_another_thread() -> None:
    """One that sleeps without a limit."""
    bell = Bell()
    thread = threading.Thread(target=bell.wait)
    thread.start()
    bell.ring()
    thread.join(20)
    assert not thread.is_alive()
