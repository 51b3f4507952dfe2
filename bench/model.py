"""The words of the benchmarks: scenario, subject, metric, target, outcome, record.

A *subject* is what is measured: Procession, a peer, or a yardstick such as the raw socketpair. A *scenario* measures
one subject at a time, in a fresh interpreter, and gives one value per *metric*. A *target* says how far Procession's
value of a metric may go. Everything here is plain data; nothing is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

OURS = "procession"

Size = Mapping[str, int]
"""How much a scenario does: named integers, so that a run's JSON says what was run."""

Status = Literal["ok", "missing", "failed"]


@dataclass(frozen=True)
class Metric:
    """One measured figure; smaller is always better."""

    name: str
    unit: str


@dataclass(frozen=True)
class Target:
    """The most that Procession's median of `metric` may be.

    With `against`, the limit is on the ratio to the best (smallest) median among those subjects; without, it is on the
    value itself, in the metric's unit.
    """

    metric: str
    limit: float
    against: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What measuring one subject once gave: a value per metric, and what a reader of the value must know."""

    values: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True)
class Scenario:
    """One row of the issue's table: what is measured, for whom, at which sizes, and what must be reached."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    targets: tuple[Target, ...]
    subjects: tuple[str, ...]
    full: Size
    quick: Size
    measure: Callable[[str, Size], Measurement]
    requires: tuple[str, ...] = ()

    def size(self, quick: bool) -> Size:
        """The sizes of a real run, or those of a smoke run, whose figures mean nothing."""
        return self.quick if quick else self.full


@dataclass(frozen=True)
class Outcome:
    """How one measurement ended: `ok` with values, `missing` (not installed) or `failed`, both with the reason."""

    status: Status
    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Record:
    """One measurement of a run: which scenario and subject, in which round, and its outcome."""

    scenario: str
    subject: str
    round: int
    outcome: Outcome
