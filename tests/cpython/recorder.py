"""Runs tests and writes what happens to each, a line of JSON at a time.

A copy of this module is put into the generated package and run there, by ``python -m``: it uses the standard library
only.  Lines are written when a test begins and when it ends, so that the last one tells which test has hung or crashed;
tests that the file already has are left out, so that the rest can be run afterwards.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import re
import sys
import time
import traceback
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


def name_of(test: Any) -> str:
    """A test as ``Class.test``; what a module or class does before and after its tests has a name of its own."""
    name: str = test.id()
    return ".".join(name.split(".")[-2:]) if isinstance(test, unittest.TestCase) else name


class Recorder(unittest.TestResult):
    """A result that is written down."""

    def __init__(self, file: TextIO, limit: float) -> None:
        super().__init__()
        self._file = file
        self._limit = limit
        self._began = time.monotonic()
        self._open: set[str] = set()

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        """Write that the test has begun; after its time, end the process with the stacks of its threads."""
        super().startTest(test)
        faulthandler.dump_traceback_later(self._limit, exit=True)
        self._began = time.monotonic()
        self._open.add(name_of(test))
        self._write(name_of(test), "began")
        print(f"--- {name_of(test)}", file=sys.stderr, flush=True)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        """Write that the test has passed, if nothing else has been written."""
        faulthandler.cancel_dump_traceback_later()
        self._end(test, "passed")
        super().stopTest(test)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        """Write an error."""
        self._end(test, "failed", "".join(traceback.format_exception(*err)))

    addFailure = addError  # noqa: N815

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        """Write that a test was left out."""
        self._end(test, "skipped", reason)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        """Write the first error of a part of a test as the test's."""
        if err is not None:
            self._end(test, "failed", "".join(traceback.format_exception(*err)))

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        """Write that a test has passed that should have failed."""
        self._end(test, "failed", "unexpected success")

    def _end(self, test: unittest.TestCase, outcome: str, text: str = "") -> None:
        name = name_of(test)
        if isinstance(test, unittest.TestCase) and name not in self._open and outcome == "passed":
            return
        self._open.discard(name)
        self._write(name, outcome, text)

    def _write(self, test: str, outcome: str, text: str = "") -> None:
        seconds = round(time.monotonic() - self._began, 2)
        line = {"test": test, "outcome": outcome, "seconds": seconds, "text": text}
        print(json.dumps(line), file=self._file, flush=True)


def flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of a suite of suites."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def _shorten_waits() -> None:
    """Have tests that wait in vain do so for a minute, not for the five that CPython allows its slowest machines."""
    support: Any = importlib.import_module("test.support")
    support.SHORT_TIMEOUT, support.LONG_TIMEOUT = 30.0, 60.0


def main() -> None:
    """Run the tests that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--keep", required=True, help="expression that Class.test has to match")
    parser.add_argument("--limit", type=float, required=True, help="seconds for one test")
    options = parser.parse_args()
    before = options.results.read_text().splitlines() if options.results.exists() else []
    done = {json.loads(line)["test"] for line in before}
    faulthandler.enable()
    _shorten_waits()
    loaded = [unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name)) for name in options.modules]
    kept = [
        test
        for test in flatten(unittest.TestSuite(loaded))
        if re.match(options.keep, name_of(test)) and name_of(test) not in done
    ]
    with options.results.open("a") as file:
        unittest.TestSuite(kept).run(Recorder(file, options.limit))
        print(json.dumps({"test": "", "outcome": "finished", "seconds": 0, "text": ""}), file=file, flush=True)


if __name__ == "__main__":
    main()
