"""Runs one suite on one subject with one interpreter, to its end, whatever hangs or crashes.

A test that hangs or takes the interpreter with it ends its process and counts as failed; the tests after it are run by
another process.  Tests that have failed are run again, each alone: on a busy machine a first failure means little.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .generator import RECORDER, Subject, generated, modules_of
from .interpreters import Interpreter
from .suites import Suite, plain_name

TEST_LIMIT = 180.0
"""Seconds for one test: the longest takes 20 on an idle machine."""
SUITE_LIMIT = 900.0
"""Seconds for a process that runs a suite."""


@dataclass(frozen=True)
class Outcome:
    """What happened to a test: "passed", "failed" or "skipped", with the traceback or the reason."""

    outcome: str
    seconds: float
    text: str
    again: bool = False
    """Whether it has passed alone only, after it had failed among the others."""


@dataclass(frozen=True)
class Run:
    """A suite that was run: when and where, and the outcome of each test by its name without the start method."""

    python: str
    method: str
    suite: str
    subject: str
    seconds: float
    outcomes: dict[str, Outcome]

    def count(self, outcome: str) -> int:
        """How many tests had an outcome."""
        return sum(each.outcome == outcome for each in self.outcomes.values())

    def to_json(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Run:
        """The inverse of `to_json`."""
        outcomes = {test: Outcome(**outcome) for test, outcome in found["outcomes"].items()}
        return cls(**{**found, "outcomes": outcomes})


def run_suite(
    suite: Suite,
    method: str,
    subject: Subject,
    interpreter: Interpreter,
    log: Path,
    only: str = "",
    known: Iterable[str] = (),
) -> Run:
    """Run a suite, or those of its tests that match ``only``; what it prints goes into ``log``.

    ``known`` are patterns for the tests that are known to fail: those are not run again.
    """
    began = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with generated(interpreter, subject) as folder, log.open("w") as output:
        runner = _Runner(interpreter, subject, modules_of(suite, method, subject, interpreter), folder, output)
        keep = rf"(?={suite.pattern(method)})(?=.*(?:{only}))"
        outcomes = runner.run(keep, folder / "results")
        for number, (test, outcome) in enumerate(sorted(outcomes.items())):
            expected = any(fnmatch.fnmatchcase(plain_name(test), pattern) for pattern in known)
            if outcome.outcome == "failed" and not expected and re.match(r"\w+\.\w+$", test):
                again = runner.run(rf"{re.escape(test)}$", folder / f"again-{number}")
                if again.get(test, outcome).outcome == "passed":
                    outcomes[test] = Outcome("passed", again[test].seconds, outcome.text, again=True)
    plain = {plain_name(test): outcome for test, outcome in outcomes.items()}
    return Run(interpreter.version, method, suite.name, subject.name, round(time.monotonic() - began, 1), plain)


class _Runner:
    """Runs the tests of some modules of a generated package."""

    def __init__(
        self, interpreter: Interpreter, subject: Subject, modules: list[str], folder: Path, output: Any
    ) -> None:
        self._command = [os.fspath(interpreter.executable), "-m", f"{subject.package}.{RECORDER}", *modules]
        self._folder = folder
        self._output = output

    def run(self, keep: str, results: Path) -> dict[str, Outcome]:
        """Run the tests that match, in as many processes as it takes."""
        outcomes: dict[str, Outcome] = {}
        while True:
            code = self._run_process(keep, results)
            known, unfinished, finished = _read(results)
            outcomes.update(known)
            if finished:
                return outcomes
            why = "too slow" if code is None else f"ended the process, exit code {code}"
            if unfinished is None:
                outcomes["the whole suite"] = Outcome("failed", 0.0, why)
                return outcomes
            outcomes[unfinished] = Outcome("failed", TEST_LIMIT, f"hung, or {why}")

    def _run_process(self, keep: str, results: Path) -> int | None:
        """Run the tests that are not in the results yet; return the exit code, or None after too long a time."""
        arguments = ["--results", os.fspath(results), "--keep", keep, "--limit", str(TEST_LIMIT)]
        process = subprocess.Popen(
            [*self._command, *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        try:
            return process.wait(SUITE_LIMIT)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # The session ends with the process that leads it, and with it what tests have left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(results: Path) -> tuple[dict[str, Outcome], str | None, bool]:
    """The outcomes that were written, the test that has begun last and not ended, and whether all have been run."""
    outcomes: dict[str, Outcome] = {}
    unfinished: str | None = None
    finished = False
    lines = results.read_text().splitlines() if results.exists() else []
    for line in map(json.loads, lines):
        if line["outcome"] == "began":
            unfinished = line["test"]
        elif line["outcome"] == "finished":
            finished = True
        else:
            outcomes[line["test"]] = Outcome(line["outcome"], line["seconds"], line["text"])
    return outcomes, None if unfinished in outcomes else unfinished, finished
