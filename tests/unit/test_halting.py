"""When a run is over before its items are: too many failures, enough values, the first error."""

from __future__ import annotations

from typing import Any

import pytest

from procession.errors import TaskCancelled, TooManyFailures
from procession.mapping.halting import Halt, Halting, make_halting
from procession.options import TaskOptions
from procession.wire.outcomes import Outcomes


def rule(total: int | None = None, *, stop_at_errors: bool = True, ordered: bool = False, **options: Any) -> Halting:
    """The rule of these options."""
    return Halting(TaskOptions().changed(options), total, stop_at_errors=stop_at_errors, ordered=ordered)


def outcomes(*found: Any) -> Outcomes:
    """Outcomes of these values and errors."""
    errors = {at: each for at, each in enumerate(found) if isinstance(each, BaseException)}
    return Outcomes([None if at in errors else each for at, each in enumerate(found)], errors)


def test_without_a_rule_there_is_none() -> None:
    """Most runs end with their items, and pay for nothing else."""
    assert make_halting(TaskOptions(), 10, stop_at_errors=True) is None
    assert make_halting(TaskOptions().changed({"on_error": "stop"}), 10, stop_at_errors=True) is not None
    assert make_halting(TaskOptions().changed({"on_error": "stop"}), 10) is None
    assert make_halting(TaskOptions().changed({"stop_when": 1}), 10) is not None


def test_enough_values() -> None:
    """The value that is the last one counts, what came with it does not, errors are no values."""
    halting = rule(stop_when=3)
    assert halting.see(outcomes(1, ValueError(), 2)) == 3
    assert halting.halt is None
    assert halting.see(outcomes(3, 4, 5)) == 1
    assert halting.halt is Halt.ENOUGH
    assert halting.see(outcomes(6)) == 0


def test_a_value_that_is_wanted() -> None:
    """A function of a value: the one for which it is true is the last."""
    halting = rule(stop_when=lambda value: value > 10)
    assert halting.see(outcomes(1, 11, 12)) == 2
    assert halting.halt is Halt.ENOUGH


def test_a_function_that_raises_ends_the_run() -> None:
    """With its own error."""
    halting = rule(stop_when=lambda value: value.missing)
    assert halting.see(outcomes(1, 2)) == 1
    assert halting.halt is Halt.FAILED
    assert isinstance(halting.error, AttributeError)


def test_in_order_values_are_counted_as_they_are_given_out() -> None:
    """So which one is the last does not depend on which came first."""
    halting = rule(stop_when=2, ordered=True)
    assert halting.see(outcomes(1, 2, 3)) == 3
    assert [halting.is_enough(value) for value in (1, 2)] == [False, True]


@pytest.mark.parametrize(("limit", "total"), [(2, None), (0.2, 10), ("20%", 10), ("2", None)])
def test_too_many_failures(limit: Any, total: int | None) -> None:
    """So many are allowed, the next one ends the run; what was cancelled is no failure."""
    halting = rule(total, max_failures=limit)
    assert halting.see(outcomes(ValueError(1), TaskCancelled(), 1, ValueError(2))) == 4
    assert halting.halt is None
    last = ValueError(3)
    assert halting.see(outcomes(2, last, 3)) == 2
    assert isinstance(halting.error, TooManyFailures)
    assert (halting.error.failures, halting.error.done) == (3, 6)
    assert halting.error.__cause__ is last


def test_a_share_of_nobody_knows_how_many() -> None:
    """It is one of those that are done, once these are enough to tell."""
    halting = rule(max_failures=0.5)
    assert halting.see(outcomes(*[ValueError()] * 19)) == 19
    assert halting.see(outcomes(ValueError())) == 1
    assert halting.halt is Halt.FAILED


def test_the_first_error_stops() -> None:
    """Under `on_error="stop"`, where the mapping leaves that to the rule."""
    halting = rule(on_error="stop")
    assert halting.see(outcomes(1, ValueError(), 2)) == 2
    assert halting.halt is Halt.ERROR
    assert rule(on_error="stop", stop_at_errors=False).see(outcomes(ValueError(), 2)) == 2
