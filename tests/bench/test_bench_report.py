"""The arithmetic of the report, on figures made up."""

from __future__ import annotations

import pytest

from bench import facts, model, report, runner, scenarios, table

FACTS = facts.Facts("2026-01-01T00:00:00+00:00", "abc", "CPython 3.11", "Linux x86_64", 2, 0.1, {"loky": "3"})


def never(subject: str, size: model.Size) -> model.Measurement:
    """The measuring of a scenario that is only reported."""
    raise AssertionError("a report measures nothing")


def scenario(*targets: model.Target) -> model.Scenario:
    """A scenario of one metric with these targets."""
    return model.Scenario("s", "title", (model.Metric("m", "us"),), targets, (model.OURS, "a", "b"), {}, {}, never)


def record(subject: str, turn: int, value: float) -> model.Record:
    """One value of it."""
    return model.Record("s", subject, turn, model.Outcome("ok", {"m": value}))


RECORDS = [
    *(record(model.OURS, turn, value) for turn, value in enumerate((10.0, 12.0, 30.0))),
    *(record("a", turn, value) for turn, value in enumerate((100.0, 90.0, 110.0))),
    *(record("b", turn, value) for turn, value in enumerate((20.0, 24.0, 26.0))),
]


def made(*targets: model.Target, records: list[model.Record] = RECORDS, quick: bool = False) -> report.Report:
    """The report on these records."""
    return report.summarise([scenario(*targets)], records, FACTS, 3, quick)


def test_the_ratio_is_of_medians_and_to_the_best_reference() -> None:
    """Not the mean of ratios, and not the first or the worst peer."""
    (verdict,) = made(model.Target("m", 0.5, ("a", "b"))).verdicts
    assert (verdict.ours, verdict.reference, verdict.theirs, verdict.figure) == (12.0, "b", 24.0, 0.5)
    assert (verdict.lowest, verdict.highest) == (0.5, 30 / 26)
    assert verdict.word == "met"


def test_only_the_named_references_count() -> None:
    """A better subject that the target does not name changes nothing."""
    (verdict,) = made(model.Target("m", 0.1, ("a",))).verdicts
    assert (verdict.reference, verdict.figure, verdict.word) == ("a", 0.12, "missed")


def test_without_a_reference_the_value_itself_is_limited() -> None:
    """In the unit of the metric."""
    met, missed = made(model.Target("m", 12.0), model.Target("m", 11.0)).verdicts
    assert (met.figure, met.word, missed.word) == (12.0, "met", "missed")
    assert (met.lowest, met.highest, met.theirs) == (10.0, 30.0, None)


def test_nothing_is_judged_that_was_not_measured_or_only_quickly() -> None:
    """A missing figure never counts as a target that was met."""
    peers = [one for one in RECORDS if one.subject != model.OURS]
    assert made(model.Target("m", 1.0), records=peers).verdicts[0].word == "not measured"
    assert made(model.Target("m", 1.0, ("c",))).verdicts[0].word == "not measured"
    assert made(model.Target("m", 1.0), quick=True).verdicts[0].word == "not judged"


def test_rounds_are_paired_by_their_number_when_one_failed() -> None:
    """A ratio within a round never mixes two rounds."""
    records = [one for one in RECORDS if (one.subject, one.round) != ("b", 0)]
    stats = report.stats_of("s", records)
    verdict = report.judge("s", model.Target("m", 1.0, ("b",)), stats)
    assert (verdict.lowest, verdict.highest) == (0.5, 30 / 26)
    assert stats[model.OURS, "m"].spread == pytest.approx(20 / 12)


def test_the_page_shows_verdicts_medians_and_remarks() -> None:
    """What a reader needs is on the page, what failed included."""
    records = [
        *RECORDS,
        model.Record("s", "c", 0, model.Outcome("missing", reason="not installed")),
        model.Record("s", "a", 2, model.Outcome("failed", reason="boom")),
        model.Record("s", "a", 1, model.Outcome("ok", note="a slice only")),
    ]
    shown = table.page(made(model.Target("m", 0.5, ("a", "b")), model.Target("m", 20.0), records=records))
    assert "b: 24.0 us" in shown
    assert "0.5 x best" in shown
    assert "20 us" in shown
    assert "c: not measured; not installed" in shown
    assert "s, a: FAILED in round 3; boom" in shown
    assert "s, a: a slice only" in shown


def test_every_round_begins_with_another_subject() -> None:
    """The order is rotated, so that drift hits all alike."""
    assert [runner.rotated("abc", turn) for turn in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


@pytest.mark.parametrize(
    ("value", "shown"), [(1234.5, "1,234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")]
)
def test_numbers_have_three_digits_that_count(value: float, shown: str) -> None:
    """And thousands are separated."""
    assert table.number(value) == shown


def test_the_skewed_lengths_are_as_announced() -> None:
    """Seeded, within their limits, with one longest and a bound of four seconds."""
    seconds = scenarios.skewed.lengths(400)
    assert len(seconds) == 400
    assert seconds == scenarios.skewed.lengths(400)
    assert min(seconds) >= 0.0005
    assert seconds[0] == max(seconds) == 0.2
    assert sorted(seconds)[-2] < 0.2
    assert scenarios.skewed.bound(seconds, 2) == pytest.approx(4.0, abs=0.05)


def test_every_target_names_a_metric_and_subjects_of_its_scenario() -> None:
    """A misspelt one would be reported as not measured for ever."""
    for name, known in scenarios.SCENARIOS.items():
        assert known.name == name
        assert known.subjects[0] == model.OURS
        for target in known.targets:
            assert target.metric in {metric.name for metric in known.metrics}
            assert set(target.against) <= set(known.subjects)
