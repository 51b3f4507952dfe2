"""The short form of ``make conformance``: pools and executors, by the default start method, with this interpreter."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from .differences import compare, known_to_fail
from .generator import PROCESSION, STANDARD
from .interpreters import describe
from .running import Run, run_suite
from .suites import suite_named


@pytest.mark.thorough
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("suite_name", "only"),
    [("processes", "TestPool"), ("futures", "ExecutorTest|InitializerTest|DeadlockTest")],
)
def test_what_cpython_tests_holds(suite_name: str, only: str, tmp_path: Path) -> None:
    """CPython's own tests pass, but for those that differ on purpose, and each of those does differ."""
    suite, interpreter = suite_named(suite_name), describe(sys.executable)
    why = interpreter.missing(suite.source)
    if why is None and not os.access(interpreter.packages, os.W_OK):
        why = "the site-packages of the interpreter cannot be written to"
    if why is not None:
        pytest.skip(why)
    log = tmp_path / "log"
    ours = run_suite(suite, "forkserver", PROCESSION, interpreter, log, only, known_to_fail(suite.name))
    standard = Run(ours.python, ours.method, ours.suite, STANDARD.name, 0.0, {})
    comparison = compare(ours, standard)
    assert not comparison.bugs, "\n".join(f"{test}:\n{text}" for test, text in comparison.bugs.items())
    assert not comparison.stale
    assert ours.count("passed") > 15, log.read_text()
