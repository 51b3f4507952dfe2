"""Waiting for a condition with a deadline, the only way in which a test may wait for something that sends no signal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SHORTEST_PAUSE = 0.001
LONGEST_PAUSE = 0.05  # a poll costs some 10 us: at 20 a second a waiting test is invisible on a shared core


def eventually(predicate: Callable[[], T], deadline: float = 10, describe: Callable[[], object] | None = None) -> T:
    """Return the first true value of `predicate()`, asked again and again for at most `deadline` seconds.

    On failure: AssertionError with what the predicate last gave, and `describe()` if given.
    """
    end = time.monotonic() + deadline
    pause = SHORTEST_PAUSE
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            state = f"; {describe()}" if describe else ""
            raise AssertionError(f"not within {deadline} s: {predicate!r}, which last gave {value!r}{state}")
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
