"""The short form of the chaos run; `make chaos` has the long one."""

from __future__ import annotations

import pytest

from . import run


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [1, 2])
def test_every_task_is_accounted_for_while_workers_are_killed(seed: int) -> None:
    """One outcome each, right if it is a value, and nothing begins twice; the pool goes on."""
    report = run.run(2_000, seed, 3.0)
    assert report.sent.total()
