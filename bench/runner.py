"""Running scenarios in rounds, each measurement in a child interpreter of its own.

A child of its own: no subject inherits another's heap, threads or leftovers, and one that hangs is stopped, with all it
started, and reported. Rounds: each subject runs once in each, beginning with another one every time, so that a machine
that gets slower or faster does so for all alike.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from bench.model import Outcome, Record, Scenario

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 300.0
"""Seconds after which one measurement is taken to hang; the slowest takes some 20 s on two shared cores."""


def rotated(subjects: Sequence[str], turn: int) -> list[str]:
    """The subjects in the order of round number `turn`."""
    start = turn % len(subjects)
    return [*subjects[start:], *subjects[:start]]


def run_scenario(scenario: Scenario, subjects: Sequence[str], rounds: int, quick: bool) -> Iterator[Record]:
    """Every record of a scenario, as it is made; a subject that is missing is not tried again."""
    missing: set[str] = set()
    for turn in range(rounds):
        for subject in rotated(subjects, turn):
            if subject in missing:
                continue
            outcome = measure_in_child(scenario.name, subject, quick)
            if outcome.status == "missing":
                missing.add(subject)
            yield Record(scenario.name, subject, turn, outcome)


def measure_in_child(scenario: str, subject: str, quick: bool, timeout: float = TIMEOUT) -> Outcome:
    """One measurement in a fresh interpreter.

    On failure: an outcome `failed` with the last line of the child's errors, or the timeout. Output goes to files, not
    pipes: a worker left behind would hold a pipe open, and reading it would never end.
    """
    command = [sys.executable, "-m", "bench.child", scenario, subject, "quick" if quick else "full"]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=errors, start_new_session=True)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            return Outcome("failed", reason=f"no result after {timeout:g} s, so it was stopped")
        finally:
            _stop(child)
        if code != 0:
            return Outcome("failed", reason=f"exit code {code}: {_last_line(errors)}")
        return _read_outcome(output)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that has not ended, and everything in its session."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _read_outcome(output: IO[str]) -> Outcome:
    line = _last_line(output)
    try:
        return Outcome(**json.loads(line))
    except (ValueError, TypeError):
        return Outcome("failed", reason=f"printed no outcome, but: {line!r}")


def _last_line(stream: IO[str]) -> str:
    """The last line with text, free of this machine's paths (it may be published), and short."""
    stream.seek(0)
    lines = [line.strip() for line in stream if line.strip()]
    last = lines[-1] if lines else "(nothing)"
    for path in (str(ROOT), sys.prefix, sys.base_prefix, str(Path.home())):
        last = last.replace(path + os.sep, "")
    return last[:2000] if last.startswith("{") else last[:200]
