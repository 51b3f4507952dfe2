"""Where Procession differs from CPython's tests on purpose: the only table of such differences, a reason for each."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from .running import Run
from .suites import METHODS


@dataclass(frozen=True)
class Difference:
    """A test that fails with Procession on purpose, or several by a pattern, where it does, and why."""

    suite: str
    test: str
    reason: str
    methods: tuple[str, ...] = METHODS
    pythons: str = "*"
    """A pattern for versions such as "3.12"."""
    by_chance: bool = False
    """Whether it may pass as well: a race decides."""

    def applies_to(self, run: Run) -> bool:
        """Whether it is about a run."""
        minor = run.python.rsplit(".", 1)[0]
        return self.suite == run.suite and run.method in self.methods and fnmatch.fnmatch(minor, self.pythons)

    def matches(self, test: str) -> bool:
        """Whether it is about a test."""
        return fnmatch.fnmatchcase(test, self.test)


_ONE_TASK = "One bad task costs one task: this call fails with the error itself, and the others go on."

DIFFERENCES = (
    Difference(
        "processes",
        "WithProcessesTestPool.test_imap_handle_iterable_exception",
        "An error of the input comes behind the results of all items before it. There, the items of the chunk that it "
        "interrupts are lost.",
    ),
    Difference(
        "processes",
        "WithProcessesTestPool.test_map_unplicklable",
        "What an object raises while it is pickled comes as `NotPicklable`, a `PicklingError` that names the item, and "
        "has the object's own error as its cause.",
    ),
    Difference(
        "processes",
        "WithProcessesTestPoolWorkerErrors.test_unpickleable_result",
        "The result is a lambda, which can be pickled here.",
    ),
    Difference(
        "processes",
        "WithProcessesTestProcess.test_parent_process",
        "A process ends with the one that has started it, however that ends: the test wants it to notice, and live on.",
        by_chance=True,
    ),
    Difference(
        "misc",
        "TestNoForkBomb.test_noforkbomb",
        "`__main__` is never run again in a child, so a script without the guard works, and has no error to report.",
        ("forkserver", "spawn"),
    ),
    Difference(
        "misc",
        "TestStartMethod.test_mixed_startmethod",
        "A queue of the fork context can be handed to a process that is spawned: its locks have names, as those of the "
        "other contexts do.",
        ("spawn",),
    ),
    Difference(
        "misc",
        "TestPoolNotLeakOnFailure.test_release_unused_processes",
        "The test has the context's `Process` fail; the workers of a pool are not made by it.",
    ),
    Difference(
        "misc",
        "TestStartMethod.test_get_all",
        "The default, `forkserver`, comes first, as in Python 3.14.",
    ),
    Difference(
        "misc",
        "_TestImportStar.test_import",
        "The package has no `popen_fork` and the like: the standard library's way to start processes is not ours.",
    ),
    Difference(
        "misc",
        "TestFlags.test_flags",
        "The test runs `python -S`, without site-packages, where Procession is.",
    ),
    Difference("futures", "ProcessPoolExecutorDeadlockTest.test_error_at_task_unpickle", _ONE_TASK),
    Difference("futures", "ProcessPoolExecutorDeadlockTest.test_exit_at_task_unpickle", _ONE_TASK),
    Difference(
        "futures",
        "ProcessPoolExecutorDeadlockTest.test_*_during_result_unpickle_in_result_handler",
        "A result is unpickled by the worker first, so one that cannot be is `NotSendable`, and the executor goes on.",
    ),
    Difference(
        "futures",
        "ProcessPoolExecutorDeadlockTest.test_exit_during_result_pickle_on_worker",
        "A result that exits the process while it is pickled is `NotSendable`, like any other that cannot be pickled.",
    ),
    Difference(
        "futures",
        "ProcessPoolFailingInitializerTest.test_initializer",
        "The error of an initializer is the cause of the `BrokenProcessPool` that the calls get; it is not logged.",
    ),
    Difference(
        "futures",
        "FailingInitializerResourcesTest.test",
        "It runs the test above, and a test that has failed keeps its queue, and so the queue's semaphores.",
        ("forkserver", "spawn"),
    ),
    Difference(
        "futures",
        "ProcessPoolProcessPoolExecutorTest.test_killed_child",
        "A dead worker costs the call that it ran, not the executor.",
    ),
    Difference(
        "futures",
        "ProcessPoolProcessPoolExecutorTest.test_max_tasks_per_child_defaults_to_spawn_context",
        "The default start method, `forkserver`, is safe for `max_tasks_per_child`, and stays.",
    ),
    Difference(
        "futures",
        "ProcessPoolProcessPoolExecutorTest.test_python_finalization_error",
        "The test breaks a thread that only the standard executor has.",
    ),
    Difference(
        "futures",
        "ProcessPoolProcessPoolExecutorTest.test_traceback",
        "Remote tracebacks are `multiprocessing.pool.RemoteTraceback` for pools and executors alike.",
    ),
)


def known_to_fail(suite: str) -> list[str]:
    """Patterns for the tests of a suite that differ, wherever that is."""
    return [difference.test for difference in DIFFERENCES if difference.suite == suite]


@dataclass(frozen=True)
class Comparison:
    """What a run with Procession and one with the standard library say together."""

    bugs: dict[str, str]
    """Tests that fail with Procession only, and for no reason that is known, with their tracebacks."""
    on_purpose: dict[str, Difference]
    stale: list[str]
    """Tests that are said to differ, and pass."""


def compare(ours: Run, standard: Run, differences: Iterable[Difference] = DIFFERENCES) -> Comparison:
    """Compare a run with the standard library's of the same suite."""
    applying = [difference for difference in differences if difference.applies_to(ours)]
    bugs: dict[str, str] = {}
    on_purpose: dict[str, Difference] = {}
    stale: list[str] = []
    for test, outcome in ours.outcomes.items():
        difference = next((each for each in applying if each.matches(test)), None)
        if outcome.outcome == "failed":
            beside = standard.outcomes.get(test)
            if difference is not None:
                on_purpose[test] = difference
            elif beside is None or beside.outcome == "passed":
                bugs[test] = outcome.text
        elif difference is not None and outcome.outcome == "passed" and not difference.by_chance:
            stale.append(test)
    # What the standard library runs has to be run with Procession, too: a module that cannot be imported fails nothing.
    lost = {test for test, each in standard.outcomes.items() if each.outcome == "passed"} - ours.outcomes.keys()
    bugs.update(dict.fromkeys(sorted(lost), "was not run"))
    return Comparison(bugs, on_purpose, stale)
