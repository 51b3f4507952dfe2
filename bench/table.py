"""A report as a page of Markdown: the targets first, then every subject's median."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.facts import Facts
from bench.model import OURS, Metric, Scenario
from bench.report import Report, Stats, Verdict


def page(report: Report) -> str:
    """The whole page."""
    parts = [f"# Benchmarks\n\n{facts_line(report.facts)} {rounds_line(report)}", "## Targets\n", targets(report)]
    parts += ["## Medians\n", *(medians(scenario, report.stats[scenario.name]) for scenario in report.scenarios)]
    if report.remarks:
        parts += ["## Remarks\n", "\n".join(f"- {remark}" for remark in report.remarks)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def facts_line(facts: Facts) -> str:
    """Where, when and of what."""
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    place = f"{facts.python}, {facts.system}, {facts.cores} cores, load {facts.load} before the run"
    return f"{facts.date}, commit {facts.commit}; {place}; {versions or 'no peer installed'}."


def rounds_line(report: Report) -> str:
    """How the figures came about."""
    if report.quick:
        return "**A quick run: its sizes are those of a smoke test, and its figures mean nothing.**"
    return f"Medians of {report.rounds} interleaved rounds; smaller is better everywhere."


def targets(report: Report) -> str:
    """One row a target. The figure is the ratio to the best reference, or Procession's value if there is none."""
    header = ("scenario", "metric", OURS, "best reference", "figure (rounds)", "at most", "target")
    units = {(scenario.name, metric.name): metric.unit for scenario in report.scenarios for metric in scenario.metrics}
    rows = [_target_row(verdict, units[verdict.scenario, verdict.metric]) for verdict in report.verdicts]
    return grid(header, rows)


def _target_row(verdict: Verdict, unit: str) -> Sequence[str]:
    figure = "-"
    if verdict.figure is not None and verdict.lowest is not None and verdict.highest is not None:
        figure = f"{number(verdict.figure)} ({number(verdict.lowest)} to {number(verdict.highest)})"
    return (
        verdict.scenario,
        verdict.metric,
        "-" if verdict.ours is None else f"{number(verdict.ours)} {unit}",
        "-" if verdict.theirs is None else f"{verdict.reference}: {number(verdict.theirs)} {unit}",
        figure,
        _limit(verdict, unit),
        verdict.word,
    )


def _limit(verdict: Verdict, unit: str) -> str:
    """The limit and what it is a multiple of, or its unit."""
    if not verdict.against:
        return f"{verdict.limit:g} {unit}"
    return f"{verdict.limit:g} x {verdict.against[0] if len(verdict.against) == 1 else 'best'}"


def medians(scenario: Scenario, stats: Stats) -> str:
    """One row a subject, one column a metric: the median and, after it, (largest - smallest) / median of the rounds."""
    header = ("subject", *(f"{metric.name}, {metric.unit}" for metric in scenario.metrics))
    rows = [(subject, *(_cell(subject, metric, stats) for metric in scenario.metrics)) for subject in scenario.subjects]
    return f"### {scenario.name}: {scenario.title}\n\n{grid(header, rows)}"


def _cell(subject: str, metric: Metric, stats: Stats) -> str:
    stat = stats.get((subject, metric.name))
    return "-" if stat is None else f"{number(stat.median)} (spread {stat.spread:.0%})"


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, so that it reads well on a terminal too."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(drawn)
