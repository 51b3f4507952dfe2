"""The engine's wait: nothing that another thread wants is slept through."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.helpers.eventually import eventually

from procession.engine.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Give a loop, and close it."""
    made = Loop()
    yield made
    made.close()


def sleep_in(loop: Loop, timeout: float | None) -> threading.Thread:
    """Have another thread wait until a look is due; return it when it sleeps."""

    def sleep() -> None:
        while not loop.look_is_due():
            for fd, _events in loop.poll(timeout, spin=False):
                loop.handle(fd)

    thread = threading.Thread(target=sleep)
    thread.start()
    eventually(lambda: loop._asleep_until > 0)
    return thread


@pytest.mark.parametrize("timeout", [None, 1000.0])
def test_a_look_that_another_thread_wants_is_not_slept_through(loop: Loop, timeout: float | None) -> None:
    """Whoever hands out work need not know whether somebody is waiting already, and for how long."""
    thread = sleep_in(loop, timeout)
    loop.look_within(0.01)
    thread.join(20)
    assert not thread.is_alive()


def test_an_earlier_look_replaces_a_later_one(loop: Loop) -> None:
    """Also for a thread that sleeps until the later one."""
    loop.look_within(1000)
    thread = sleep_in(loop, None)
    loop.look_within(0.01)
    thread.join(20)
    assert not thread.is_alive()


def test_the_main_thread_wakes_now_and_then(loop: Loop) -> None:
    """So a signal that came just before its wait is handled soon; Python does not end the wait for it."""
    assert loop.poll(None, spin=False) == []
