"""Doing something several times, and the median of the seconds that it takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 8.0
"""Seconds after which something slow is not done once more."""


def median_seconds(
    repeats: int, action: Callable[[Any], object], prepare: Callable[[], object], check: Callable[[Any, Any], bool]
) -> float:
    """The median seconds of `action`, over so many repeats (fewer when they are slow) after one that is not counted.

    Each repeat has an argument of its own, made before the clock starts: one that remembers what it has sent gains
    nothing by it. The result is checked against it after the clock is stopped, and both are dropped before the next
    argument is made.
    """
    taken: list[float] = []
    _timed(action, prepare, check)
    while len(taken) < repeats and sum(taken) < PATIENCE:
        taken.append(_timed(action, prepare, check))
    return statistics.median(taken)


def _timed(action: Callable[[Any], object], prepare: Callable[[], object], check: Callable[[Any, Any], bool]) -> float:
    argument = prepare()
    began = time.perf_counter()
    result = action(argument)
    seconds = time.perf_counter() - began
    assert check(argument, result), "the result is wrong"
    return seconds
