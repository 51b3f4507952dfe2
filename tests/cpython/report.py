"""Writes `docs/conformance.md` from what was run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .differences import Comparison, Difference, compare
from .generator import PROCESSION, STANDARD
from .running import Run
from .suites import SUITES

Key = tuple[str, str, str]
"""Python, start method, suite."""

_HEAD = """\
# Conformance

CPython has its own tests of `multiprocessing` and of process-pool futures. `make conformance` runs them on Procession:
it takes them from the `test` package of the interpreter at hand, puts `procession` where they say `multiprocessing`,
and our `ProcessPoolExecutor` in the place of the standard one. The very same tests are run on the standard library, on
the same machine, for comparison. This page is written by that command.

A test that fails with Procession and passes with the standard library is a bug, and fails the command, unless it is in
the list of differences below.

## Results

Each cell is passed / failed / skipped. All failures of Procession are differences on purpose, unless said otherwise.
The seconds include what failed and was run again, and depend on what else the machine had to do.

"""


def write(runs: Mapping[tuple[Key, str], Run], missing: Mapping[tuple[str, str], str]) -> str:
    """The page.  ``missing`` says for a Python and a suite why it could not be run."""
    results = [*_table(runs), *_bugs(runs), *_again(runs), *_missing(missing), *_left_out(runs, missing)]
    return "".join([_HEAD, *results, *_suites(), *_differences(runs)]).rstrip("\n") + "\n"


def pairs(runs: Mapping[tuple[Key, str], Run]) -> Iterable[tuple[Key, Run, Run]]:
    """The runs of Procession, each with that of the standard library."""
    names = [suite.name for suite in SUITES]
    keys = sorted({key for key, _ in runs}, key=lambda key: (_number(key[0]), key[1], names.index(key[2])))
    for key in keys:
        ours, standard = runs.get((key, PROCESSION.name)), runs.get((key, STANDARD.name))
        if ours is not None and standard is not None:
            yield key, ours, standard


def _number(python: str) -> tuple[int, ...]:
    return tuple(map(int, python.split(".")))


def _table(runs: Mapping[tuple[Key, str], Run]) -> Iterable[str]:
    yield "| Python | start method | suite | Procession | standard library | seconds, Procession / standard |\n"
    yield "|---|---|---|---|---|---|\n"
    for (python, method, suite), ours, standard in pairs(runs):
        seconds = f"{ours.seconds:.0f} / {standard.seconds:.0f}"
        yield f"| {python} | {method} | {suite} | {_counts(ours)} | {_counts(standard)} | {seconds} |\n"


def _counts(run: Run) -> str:
    return " / ".join(str(run.count(outcome)) for outcome in ("passed", "failed", "skipped"))


def _bugs(runs: Mapping[tuple[Key, str], Run]) -> Iterable[str]:
    found = [(key, compare(ours, standard)) for key, ours, standard in pairs(runs)]
    if any(comparison.bugs for _, comparison in found):
        yield "\n## Bugs\n\nThese fail with Procession only, and not on purpose:\n\n"
        for (python, method, suite), comparison in found:
            for test in comparison.bugs:
                yield f"- Python {python}, {method}, {suite}: `{test}`\n"


def _again(runs: Mapping[tuple[Key, str], Run]) -> Iterable[str]:
    rows = [
        f"- {_title(subject)}, Python {python}, {method}, {suite}: `{test}`\n"
        for ((python, method, suite), subject), run in sorted(runs.items())
        for test, outcome in sorted(run.outcomes.items())
        if outcome.again
    ]
    if rows:
        yield "\nThese failed among the others and passed when run again alone; they count as passed:\n\n"
        yield from rows


def _title(subject: str) -> str:
    return "Procession" if subject == PROCESSION.name else "the standard library"


def _missing(missing: Mapping[tuple[str, str], str]) -> Iterable[str]:
    if missing:
        yield "\nNot there, since the interpreter comes without:\n\n"
        for (python, suite), why in sorted(missing.items(), key=lambda item: (_number(item[0][0]), item[0][1])):
            yield f"- Python {python}, {suite}: {why}\n"


def _left_out(runs: Mapping[tuple[Key, str], Run], missing: Mapping[tuple[str, str], str]) -> Iterable[str]:
    """What could have been run on the Pythons of this page, and was not."""
    there = {key for key, _, _ in pairs(runs)}
    pythons = sorted({python for (python, _, _), _ in runs} | {python for python, _ in missing}, key=_number)
    left = [
        f"- Python {python}, {suite.name}: {', '.join(methods)}\n"
        for python in pythons
        for suite in SUITES
        if (python, suite.name) not in missing
        and (methods := [method for method in suite.methods if (python, method, suite.name) not in there])
    ]
    if left:
        yield "\nNot run when this page was written:\n\n"
        yield from left


def _suites() -> Iterable[str]:
    yield "\n## Suites\n\n"
    for suite in SUITES:
        yield f"- {suite.name}: {suite.about} (`test.{suite.source.removesuffix('.py')}`)\n"


def _differences(runs: Mapping[tuple[Key, str], Run]) -> Iterable[str]:
    yield "\n## Differences on purpose\n\n| suite | test | where | why |\n|---|---|---|---|\n"
    seen: dict[Difference, list[str]] = {}
    for (python, method, _), ours, standard in pairs(runs):
        comparison: Comparison = compare(ours, standard)
        for difference in set(comparison.on_purpose.values()):
            seen.setdefault(difference, []).append(f"{python.rsplit('.', 1)[0]} {method}")
    order = [suite.name for suite in SUITES]
    for difference, places in sorted(seen.items(), key=lambda item: (order.index(item[0].suite), item[0].test)):
        test = difference.test.replace("*", r"\*")
        yield f"| {difference.suite} | {test} | {_where(places)} | {difference.reason} |\n"


def _where(places: list[str]) -> str:
    """The places where something differs: the start methods, with their Pythons."""
    by_method: dict[str, list[str]] = {}
    for place in places:
        python, method = place.split()
        by_method.setdefault(method, []).append(python)
    grouped: dict[str, list[str]] = {}
    for method, pythons in sorted(by_method.items()):
        grouped.setdefault(", ".join(sorted(pythons, key=_number)), []).append(method)
    return "; ".join(f"{', '.join(methods)} ({pythons})" for pythons, methods in grouped.items())
