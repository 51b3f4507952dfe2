"""What runs CPython's tests: the names that it replaces, the results that it compares, what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .differences import DIFFERENCES, Difference, compare
from .generator import PROCESSION, STANDARD, Subject, generated, rewrite
from .interpreters import describe
from .report import write
from .running import Outcome, Run
from .suites import METHODS, plain_name, suite_named


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import multiprocessing.pool", "import procession.pool"),
        ("_multiprocessing.SemLock", "_multiprocessing.SemLock"),
        ("test_multiprocessing_fork", "test_multiprocessing_fork"),
        ("('unclosed running multiprocessing pool', x)", "('unclosed running multiprocessing pool', x)"),
        ("from test._test_multiprocessing import A", "from cpython_on_procession._test_multiprocessing import A"),
        ("from test import support", "from test import support"),
        (
            "x = futures.ProcessPoolExecutor(2)",
            "from cpython_on_procession import adapter; x = adapter.ProcessPoolExecutor(2)",
        ),
    ],
)
def test_names_of_the_subject_are_replaced(source: str, expected: str) -> None:
    """Whole words only; and what is said of the standard library alone stays."""
    assert rewrite(source, PROCESSION) == expected


def test_the_standard_library_keeps_its_names() -> None:
    """For comparison, only the names of the modules of tests change."""
    assert rewrite("import multiprocessing; import test.mp_preload", STANDARD) == (
        "import multiprocessing; import cpython_on_standard.mp_preload"
    )


def test_the_start_method_is_no_part_of_a_name() -> None:
    """A difference is written down once for all start methods."""
    assert plain_name("ProcessPoolForkserverWaitTest.test_all") == "ProcessPoolWaitTest.test_all"
    assert plain_name("ProcessPoolForkWaitTest.test_all") == "ProcessPoolWaitTest.test_all"
    assert plain_name("ForkServerCmdLineTest.test_zip") == "CmdLineTest.test_zip"
    assert plain_name("WithProcessesTestPool.test_map") == "WithProcessesTestPool.test_map"


def _run(subject: Subject, **outcomes: str) -> Run:
    found = {f"T.{name}": Outcome(outcome, 0.1, outcome) for name, outcome in outcomes.items()}
    return Run("3.13.0", "fork", "misc", subject.name, 1.0, found)


def test_what_fails_with_us_only_is_a_bug() -> None:
    """Not what fails with both, nor what is known; what was not run is one, and what is said to differ must."""
    ours = _run(PROCESSION, a="failed", b="failed", c="failed", d="passed", e="skipped")
    standard = _run(STANDARD, a="passed", b="failed", c="passed", d="passed", e="skipped", f="passed")
    known = [Difference("misc", "T.c", "so"), Difference("misc", "T.d", "so"), Difference("futures", "T.a", "so")]
    comparison = compare(ours, standard, known)
    assert comparison.bugs == {"T.a": "failed", "T.f": "was not run"}
    assert list(comparison.on_purpose) == ["T.c"]
    assert comparison.stale == ["T.d"]


def test_differences_are_of_suites_and_methods_that_exist() -> None:
    """A difference with a mistyped suite would never apply."""
    for difference in DIFFERENCES:
        assert set(difference.methods) <= set(suite_named(difference.suite).methods) <= set(METHODS)
    assert len({(each.suite, each.test, each.methods) for each in DIFFERENCES}) == len(DIFFERENCES)


def test_runs_are_kept_and_shown() -> None:
    """What is read back is what was written, and the page has its counts."""
    ours, standard = _run(PROCESSION, a="passed", b="skipped"), _run(STANDARD, a="passed", b="failed")
    assert Run.from_json(json.loads(json.dumps(ours.to_json()))) == ours
    key = ("3.13.0", "fork", "misc")
    page = write({(key, ours.subject): ours, (key, standard.subject): standard}, {("3.12.1", "futures"): "not there"})
    assert "| 3.13.0 | fork | misc | 1 / 0 / 1 | 1 / 1 / 0 |" in page
    assert "- Python 3.12.1, futures: not there" in page


def test_nothing_is_left_in_site_packages() -> None:
    """The package can be imported by isolated scripts as long as it is needed, and not afterwards."""
    interpreter = describe(sys.executable)
    if interpreter.tests is None:
        pytest.skip("no `test` package")
    before = set(interpreter.packages.iterdir())
    command = [interpreter.executable, "-I", "-c", "import cpython_on_procession.recorder"]
    with generated(interpreter, PROCESSION) as folder:
        assert subprocess.run(command).returncode == 0
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 1
    assert set(interpreter.packages.iterdir()) == before
    assert not Path(folder).exists()
