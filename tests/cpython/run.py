"""The command behind ``make conformance``: every suite, start method and Python, on Procession and on the standard one.

Each run is kept in ``build/conformance``, so that a page can be written from runs of different times.  The exit code is
1 when a test fails with Procession only and not on purpose.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence

from . import report
from .differences import compare, known_to_fail
from .generator import PROCESSION, STANDARD, Subject
from .interpreters import ROOT, SUPPORTED, Interpreter, prepare
from .running import Run, run_suite
from .suites import METHODS, SUITES, Suite, suite_named

KEPT = ROOT / "build" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--python", action="append", choices=SUPPORTED, help="this Python only; may be given again")
    parser.add_argument("--method", action="append", choices=METHODS, help="this start method only")
    parser.add_argument("--suite", action="append", choices=[suite.name for suite in SUITES], help="this suite only")
    parser.add_argument("--only", default="", help="tests that match this expression only; nothing is kept then")
    parser.add_argument("--reuse-standard", action="store_true", help="take the standard library's results from before")
    parser.add_argument("--resume", action="store_true", help="run only what has not been run before")
    parser.add_argument("--ours", action="store_true", help="run Procession only; what fails is not compared then")
    parser.add_argument("--page", action="store_true", help="run nothing: write the page from what has been run")
    return parser.parse_args(arguments)


def main() -> int:
    """Run what is asked for; return the exit code."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # what was generated is removed all the same
    failed = False
    if not options.page:
        for minor in options.python or SUPPORTED:
            interpreter = prepare(minor)
            if interpreter is None:
                print(f"Python {minor}: not on this machine")
            else:
                failed |= _run_all(interpreter, options)
    if not options.only:
        runs, missing = load()
        PAGE.write_text(report.write(runs, missing))
        failed |= options.page and any(compare(ours, standard).bugs for _, ours, standard in report.pairs(runs))
    return int(failed)


def _run_all(interpreter: Interpreter, options: argparse.Namespace) -> bool:
    """Run what is asked for with one interpreter; return whether there was a bug."""
    failed = False
    for suite in [suite_named(name) for name in options.suite] if options.suite else SUITES:
        why = interpreter.missing(suite.source)
        note = f"missing-{interpreter.version}-{suite.name}"
        if why is not None:
            print(f"{interpreter.version} {suite.name}: {why}")
            _keep(note, why)
            continue
        (KEPT / f"{note}.json").unlink(missing_ok=True)
        for method in suite.methods:
            if method in (options.method or METHODS):
                failed |= _run_pair(suite, method, interpreter, options)
    return failed


def _run_pair(suite: Suite, method: str, interpreter: Interpreter, options: argparse.Namespace) -> bool:
    """Run a suite on both subjects; return whether there was a bug."""
    reuse = options.reuse_standard or options.ours or options.resume
    standard = _load(suite, method, STANDARD, interpreter) if reuse else None
    if standard is None and options.ours:
        standard = Run(interpreter.version, method, suite.name, STANDARD.name, 0.0, {})
    elif standard is None:
        standard = _run(suite, method, STANDARD, interpreter, options.only)
    ours = _load(suite, method, PROCESSION, interpreter) if options.resume else None
    if ours is None:
        ours = _run(suite, method, PROCESSION, interpreter, options.only)
    if options.only and reuse:
        chosen = {test: outcome for test, outcome in standard.outcomes.items() if test in ours.outcomes}
        standard = Run(**{**vars(standard), "outcomes": chosen})
    comparison = compare(ours, standard)
    for test, text in comparison.bugs.items():
        print(f"  BUG {test}\n{_indent(text)}", flush=True)
    for test in comparison.stale:
        print(f"  STALE {test}: said to differ, but it passes", flush=True)
    return bool(comparison.bugs or comparison.stale)


def _run(suite: Suite, method: str, subject: Subject, interpreter: Interpreter, only: str) -> Run:
    name = _name(suite, method, subject, interpreter)
    known = () if subject.is_standard else known_to_fail(suite.name)
    run = run_suite(suite, method, subject, interpreter, KEPT / f"{name}.log", only, known)
    counts = ", ".join(f"{run.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))
    print(f"{run.python} {method} {suite.name} {subject.name}: {counts} in {run.seconds:.0f} s", flush=True)
    if not only:
        _keep(name, run.to_json())
    return run


def _name(suite: Suite, method: str, subject: Subject, interpreter: Interpreter) -> str:
    return f"run-{interpreter.version}-{method}-{suite.name}-{subject.name}"


def _keep(name: str, value: object) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(value, indent=1))


def _load(suite: Suite, method: str, subject: Subject, interpreter: Interpreter) -> Run | None:
    path = KEPT / f"{_name(suite, method, subject, interpreter)}.json"
    return Run.from_json(json.loads(path.read_text())) if path.exists() else None


def load() -> tuple[dict[tuple[report.Key, str], Run], dict[tuple[str, str], str]]:
    """Everything that has been run, and what could not be."""
    runs: dict[tuple[report.Key, str], Run] = {}
    for path in KEPT.glob("run-*.json"):
        run = Run.from_json(json.loads(path.read_text()))
        runs[(run.python, run.method, run.suite), run.subject] = run
    missing = dict(_load_missing())
    return runs, missing


def _load_missing() -> Iterator[tuple[tuple[str, str], str]]:
    for path in KEPT.glob("missing-*.json"):
        _, python, suite = path.stem.split("-")
        yield (python, suite), json.loads(path.read_text())


def _indent(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
