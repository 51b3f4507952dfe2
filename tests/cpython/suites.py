"""The suites: which tests of CPython's belong to each, and their names without the start method in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

METHODS = ("forkserver", "spawn", "fork")
MULTIPROCESSING = "_test_multiprocessing.py"
MAIN_HANDLING = "test_multiprocessing_main_handling.py"
FUTURES = "test_concurrent_futures"

#: The modules of the package `test_concurrent_futures` that have to do with processes.
FUTURES_MODULES = ("test_as_completed", "test_deadlock", "test_init", "test_process_pool", "test_shutdown", "test_wait")


@dataclass(frozen=True)
class Suite:
    """A part of CPython's tests that is run at once: its source in the `test` package and the tests of it to keep."""

    name: str
    source: str
    about: str
    keep: str
    methods: tuple[str, ...] = METHODS

    def pattern(self, method: str) -> str:
        """A regular expression for the beginning of ``Class.test`` of the tests that this suite has for a method."""
        names = {"method": method, "Method": method.capitalize(), "MeThod": method.title().replace("server", "Server")}
        return self.keep.format(**names)


SUITES = (
    Suite(
        "processes",
        MULTIPROCESSING,
        "processes, pools, queues, locks, shared memory",
        "WithProcesses",
    ),
    Suite("manager", MULTIPROCESSING, "the same through a manager", "WithManager"),
    Suite(
        "threads",
        MULTIPROCESSING,
        "`multiprocessing.dummy`, which has no start method",
        "WithThreads",
        ("fork",),
    ),
    Suite(
        "misc",
        MULTIPROCESSING,
        "start methods, resource tracker, sockets, `__all__`",
        "(?!WithProcesses|WithManager|WithThreads)",
    ),
    Suite("main", MAIN_HANDLING, "where `__main__` comes from", "{MeThod}CmdLineTest"),
    Suite(
        "futures",
        FUTURES,
        "`ProcessPoolExecutor`",
        r"ProcessPool{Method}(?=[A-Z])|FailingInitializerResourcesTest\.test_{method}$",
    ),
)


def suite_named(name: str) -> Suite:
    """The suite of that name.  On failure: ``KeyError``."""
    return {suite.name: suite for suite in SUITES}[name]


def plain_name(test: str) -> str:
    """The name of a test without the start method that CPython has put into it."""
    test = re.sub(r"ProcessPool(Forkserver|Fork|Spawn)(?=[A-Z])", "ProcessPool", test)
    test = re.sub(r"^(ForkServer|Fork|Spawn)CmdLineTest", "CmdLineTest", test)
    return re.sub(r"^(FailingInitializerResourcesTest)\.test_\w+", r"\1.test", test)
