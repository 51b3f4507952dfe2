"""Each scenario runs, at sizes of a smoke test, and gives what it says; how fast is for `make bench` to say.

Every measurement has a child interpreter of its own, as in a real run, so nothing is left in this process.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import model, peers, runner, scenarios

pytestmark = pytest.mark.thorough

SUBJECTS = {
    "import": (model.OURS, "multiprocessing.pool"),
    "call": (model.OURS, "raw", "pool-fork"),
    "array-arg": (model.OURS, "memcpy+sum", "pool-fork"),
    "array-roundtrip": (model.OURS, "pool-fork", "joblib"),
    "row-blocks": (model.OURS, "split", "pool-fork", "futures-fork"),
    "share": (model.OURS, "in-process"),
    "stream": (model.OURS, "joblib"),
    "journal": (model.OURS,),
    "progress": (model.OURS,),
    "uneven": (model.OURS, "pool-fork", "split"),
}
DEFAULT_SUBJECTS = (model.OURS, "pool-fork")
AT_MOST = 60.0
"""Seconds a smoke measurement may take on a machine that is busy with other things; it takes about one."""


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_each_scenario_gives_a_value_for_each_of_its_metrics(name: str) -> None:
    """The targets' metrics are all measured, for Procession, a peer and the yardsticks."""
    scenario = scenarios.SCENARIOS[name]
    for subject in SUBJECTS.get(name, DEFAULT_SUBJECTS):
        assert subject in scenario.subjects
        outcome = runner.measure_in_child(name, subject, quick=True, timeout=AT_MOST)
        if outcome.status == "missing":
            assert outcome.reason
            continue
        assert outcome.status == "ok", outcome.reason
        assert set(outcome.values) <= {metric.name for metric in scenario.metrics}
        assert {target.metric for target in scenario.targets} <= set(outcome.values)
        assert all(math.isfinite(value) and value > 0 for value in outcome.values.values())


@pytest.mark.parametrize("subject", peers.PEERS)
def test_each_peer_is_measured_or_reported_as_missing(subject: str) -> None:
    """A peer that is not installed is no error."""
    outcome = runner.measure_in_child("submit", subject, quick=True, timeout=AT_MOST)
    assert outcome.status in ("ok", "missing"), outcome.reason
    assert bool(outcome.values) == (outcome.status == "ok")


def test_the_command_prints_and_writes_its_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page printed is the page written, and the JSON tells the run, and nothing of where its files are."""
    written, table = tmp_path / "out.json", tmp_path / "out.md"
    arguments = ["call", "--quick", "--rounds", "2", "--only", "raw", "--only", "pool-fork"]
    assert command.main([*arguments, "--json", str(written), "--table", str(table)]) == 0
    assert capsys.readouterr().out.strip() == table.read_text(encoding="utf-8").strip()
    run = json.loads(written.read_text(encoding="utf-8"))
    assert run["quick"]
    assert run["rounds"] == 2
    assert set(run["facts"]) == {"date", "commit", "python", "system", "cores", "load", "versions"}
    assert len(run["scenarios"]["call"]["metrics"]["call"]["subjects"]["raw"]["values"]) == 2
    assert [target["word"] for target in run["targets"]] == ["not measured", "not measured"]
    assert runner.ROOT.as_posix() not in written.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments", [["no-such"], ["--only", "no-such"], ["--rounds", "0"], ["--rounds", "many"]], ids=" ".join
)
def test_a_wrong_command_line_ends_with_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what there is to choose from."""
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_measurement_that_hangs_is_stopped_and_reported() -> None:
    """A peer that hangs costs its own figure, not the run."""
    outcome = runner.measure_in_child("call", "pool-fork", quick=True, timeout=0.01)
    assert outcome.status == "failed"
    assert "was stopped" in outcome.reason


def test_a_measurement_that_breaks_is_reported_with_its_error() -> None:
    """The last line of what went wrong stands in the report."""
    outcome = runner.measure_in_child("call", "no-such-peer", quick=True, timeout=AT_MOST)
    assert outcome.status == "failed"
    assert "KeyError: 'no-such-peer'" in outcome.reason
