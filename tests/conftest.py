"""Every test: a limit after which a hang shows its stacks, and a check that nothing is left behind."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import hangs, leaks
from tests.helpers.gates import Gate, Notes
from tests.helpers.scripts import Completed, Via, run_script

if leaks.MARK not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:  # each runner has processes of its own
    os.environ[leaks.MARK] = uuid.uuid4().hex

FAILED = pytest.StashKey[bool]()
MARKERS = (
    "thorough: many variations, or what no other Python could do otherwise; CI runs them on the default Python only",
    "table: every way to die, times where, times how it was called; make table",
    "large: objects of more than 4 GiB; left out unless asked for",
    "not_in_stdlib(reason): the standard library is known to fail this, and why; left out when it is the subject",
    "needs_processes(reason): makes no sense in the caller's own process, and why; left out for the inline backend",
    "leaves_things(reason): no leak check for this test, and why",
)


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(optionalhook=True, hookwrapper=True)
def pytest_timeout_set_timer() -> Iterator[None]:
    """Let the stacks of the workers be shown, too, when pytest-timeout's alarm goes off."""
    yield
    handler = signal.getsignal(signal.SIGALRM)
    if callable(handler):
        signal.signal(signal.SIGALRM, hangs.dumping(handler))


@pytest.hookimpl(hookwrapper=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> Iterator[None]:
    """Limit the teardown of a test that has failed: pytest-timeout takes its alarm away just here."""
    yield
    if isinstance(node, pytest.Item):
        hangs.limit_teardown()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test has failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a descriptor, process, thread, handler, variable or shared memory behind."""
    if request.node.get_closest_marker("leaves_things"):
        yield
        return
    before = leaks.Snapshot.take()
    yield
    strict = request.session.testsfailed == 0  # pytest keeps the frames of failed tests, with open files, for a while
    if not leaks.differences(before, leaks.Snapshot.take(), strict):
        return
    request.node.funcargs.clear()  # pytest would keep the fixtures' values for a little longer
    failed = request.node.stash.get(FAILED, False)
    found = leaks.wait_until_clean(before, 0.5 if failed else leaks.PATIENCE, strict)
    leaks.kill_all(leaks.new_processes(before))
    # The frames of a test that has failed are kept for its traceback, and all that they hold with them.
    if found and not failed:
        pytest.fail("left behind:\n  " + "\n  ".join(found), pytrace=False)


@pytest.fixture
def make_gate(tmp_path: Path, no_leaks: None) -> Iterator[Callable[[], Gate]]:
    """Give a function that makes gates; they are opened at the end of the test at the latest."""
    gates: list[Gate] = []

    def make() -> Gate:
        gates.append(Gate(tmp_path / f"gate-{len(gates)}"))
        return gates[-1]

    yield make
    for gate in gates:
        gate.open()


@pytest.fixture
def gate(make_gate: Callable[[], Gate]) -> Gate:
    """Give one gate, shut."""
    return make_gate()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """Give a file to which any process may append."""
    return Notes(tmp_path / "notes")


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Completed]:
    """Give `run_script` with its folder filled in."""

    def run(text: str, via: Via = Via.FILE, **options: Any) -> Completed:
        return run_script(text, via, folder=tmp_path, **options)

    return run
