"""From records to what they say: medians, ratios to the best peer, targets met or missed. Pure; as JSON on demand."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from bench.facts import Facts
from bench.model import OURS, Metric, Record, Scenario, Target

Word = Literal["met", "missed", "not measured", "not judged"]


@dataclass(frozen=True)
class Stat:
    """The values of one subject and metric by round (a failed round has none), in the metric's unit."""

    by_round: Mapping[int, float]

    @property
    def median(self) -> float:
        """The figure that is compared."""
        return statistics.median(self.by_round.values())

    @property
    def spread(self) -> float:
        """How far the rounds lay apart: (largest - smallest) / median."""
        return (max(self.by_round.values()) - min(self.by_round.values())) / self.median


Stats = Mapping[tuple[str, str], Stat]
"""By subject and metric, of one scenario."""


@dataclass(frozen=True)
class Verdict:
    """One target: Procession's median, the best reference's, the figure that is limited, and the word.

    `figure` is the ratio of the two medians, or Procession's median itself when the target names no reference; `lowest`
    and `highest` are the figures of the single rounds, to show how firm it is.
    """

    scenario: str
    metric: str
    limit: float
    against: tuple[str, ...]
    word: Word = "not measured"
    ours: float | None = None
    reference: str = ""
    theirs: float | None = None
    figure: float | None = None
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True)
class Report:
    """A whole run."""

    facts: Facts
    quick: bool
    rounds: int
    scenarios: tuple[Scenario, ...]
    stats: Mapping[str, Stats]
    verdicts: tuple[Verdict, ...]
    remarks: tuple[str, ...]


def summarise(
    scenarios: Sequence[Scenario], records: Sequence[Record], facts: Facts, rounds: int, quick: bool
) -> Report:
    """Everything that the records of a run say; a quick run is shown, and not judged."""
    stats = {scenario.name: stats_of(scenario.name, records) for scenario in scenarios}
    verdicts = [
        judge(scenario.name, target, stats[scenario.name], quick)
        for scenario in scenarios
        for target in scenario.targets
    ]
    return Report(facts, quick, rounds, tuple(scenarios), stats, tuple(verdicts), remarks_of(records))


def stats_of(scenario: str, records: Iterable[Record]) -> Stats:
    """The values of a scenario by subject and metric."""
    values: dict[tuple[str, str], dict[int, float]] = {}
    for record in records:
        if record.scenario == scenario:
            for metric, value in record.outcome.values.items():
                values.setdefault((record.subject, metric), {})[record.round] = value
    return {key: Stat(found) for key, found in values.items()}


def judge(scenario: str, target: Target, stats: Stats, quick: bool = False) -> Verdict:
    """Compare Procession with the target: against the best median of the references, or against the limit alone."""
    verdict = Verdict(scenario, target.metric, target.limit, target.against)
    ours = stats.get((OURS, target.metric))
    if ours is None:
        return verdict
    if target.against:
        present = [name for name in target.against if (name, target.metric) in stats]
        if not present:
            return replace(verdict, ours=ours.median)
        best = min(present, key=lambda name: stats[name, target.metric].median)
        theirs = stats[best, target.metric]
        verdict = replace(verdict, reference=best, theirs=theirs.median)
        figure, single = ours.median / theirs.median, _ratios(ours, theirs)
    else:
        figure, single = ours.median, list(ours.by_round.values())
    word: Word = "not judged" if quick else "met" if figure <= target.limit else "missed"
    return replace(verdict, word=word, ours=ours.median, figure=figure, lowest=min(single), highest=max(single))


def _ratios(ours: Stat, theirs: Stat) -> list[float]:
    """The ratio within each round that has both, else that of the medians."""
    both = [turn for turn in ours.by_round if turn in theirs.by_round]
    return [ours.by_round[turn] / theirs.by_round[turn] for turn in both] or [ours.median / theirs.median]


def remarks_of(records: Iterable[Record]) -> tuple[str, ...]:
    """Each thing a reader must know once: who was missing, what failed, and the notes of the measurements."""
    remarks: dict[str, None] = {}
    for record in records:
        outcome = record.outcome
        if outcome.status == "missing":
            remarks[f"{record.subject}: not measured; {outcome.reason}"] = None
        elif outcome.status == "failed":
            remarks[f"{record.scenario}, {record.subject}: FAILED in round {record.round + 1}; {outcome.reason}"] = None
        elif outcome.note:
            remarks[f"{record.scenario}, {record.subject}: {outcome.note}"] = None
    return tuple(remarks)


def as_json(report: Report) -> dict[str, object]:
    """The report as plain data, every round's value included."""
    return {
        "facts": asdict(report.facts),
        "quick": report.quick,
        "rounds": report.rounds,
        "scenarios": {scenario.name: _scenario_json(scenario, report) for scenario in report.scenarios},
        "targets": [asdict(verdict) for verdict in report.verdicts],
        "remarks": list(report.remarks),
    }


def _scenario_json(scenario: Scenario, report: Report) -> dict[str, object]:
    stats = report.stats[scenario.name]
    return {
        "title": scenario.title,
        "size": dict(scenario.size(report.quick)),
        "metrics": {metric.name: _metric_json(metric, stats) for metric in scenario.metrics},
    }


def _metric_json(metric: Metric, stats: Stats) -> dict[str, object]:
    subjects = {
        subject: {"median": stat.median, "spread": stat.spread, "values": list(stat.by_round.values())}
        for (subject, name), stat in stats.items()
        if name == metric.name
    }
    return {"unit": metric.unit, "subjects": subjects}
