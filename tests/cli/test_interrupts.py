"""Ctrl-C for a command: it does not strike amid a step of ours."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from procession.cli.interrupts import held_back


@pytest.fixture(autouse=True)
def usual_handler() -> Iterator[None]:
    """Ctrl-C raises ``KeyboardInterrupt``, and still does afterwards; the timer is pytest's again then."""
    timer = signal.getitimer(signal.ITIMER_REAL)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)
    signal.setitimer(signal.ITIMER_REAL, *timer)


def step(module: str, work: Callable[[], object]) -> None:
    """Call ``work`` from a module of this name."""
    names: dict[str, Callable[[Callable[[], object]], None]] = {}
    exec("def call(work):\n    work()\n", {"__name__": module}, names)
    names["call"](work)


def press() -> None:
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def until_it_comes() -> None:
    """Work on; pytest's own limit is off meanwhile, since its timer is in use."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass


def test_a_step_is_ended_first() -> None:
    """What the engine is at is finished, and then it comes."""
    finished = []

    def work() -> None:
        press()
        finished.append(True)

    def run() -> None:
        step("procession.engine.core", work)
        until_it_comes()

    with held_back(), pytest.raises(KeyboardInterrupt):
        run()
    assert finished


@pytest.mark.parametrize("module", ["elsewhere", "procession.backends.inline"])
def test_other_code_is_interrupted_at_once(module: str) -> None:
    """Also the caller's function, when it runs in this process."""
    with held_back(), pytest.raises(KeyboardInterrupt):
        step(module, press)


def test_the_second_is_not_held_back() -> None:
    """It strikes wherever it is."""

    def work() -> None:
        press()
        with pytest.raises(KeyboardInterrupt):
            press()

    with held_back():
        step("procession.cli.map", work)


def test_patience_ends() -> None:
    """A step that hangs, a pipe that nobody reads, is interrupted all the same."""

    def work() -> None:
        press()
        until_it_comes()

    with pytest.raises(KeyboardInterrupt), held_back():
        step("procession.cli.outputs", work)


def test_a_handler_of_somebody_else_stays() -> None:
    """Who has set one has set it for a reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_back():
        press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
