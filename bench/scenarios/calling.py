"""What the three scenarios of one call with a big array share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.model import Measurement, Size
from bench.peers.base import Function
from bench.repeats import median_seconds
from bench.warm import warm_session


def measure_call(
    subject: str, size: Size, function: Function, prepare: Callable[[], object], check: Callable[[Any, Any], bool]
) -> Measurement:
    """Milliseconds of a call on a warm pool: the median of several, each with a new argument."""
    with warm_session(subject, size["workers"]) as (session, note):
        seconds = median_seconds(
            size["repeats"], lambda argument: session.call(function, argument), prepare=prepare, check=check
        )
    return Measurement({"call": seconds * 1000}, note)
