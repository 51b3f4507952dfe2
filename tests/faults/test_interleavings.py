"""Random interleavings of what users and accidents do to a pool: each task ends in exactly one way, as it may."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from tests.helpers.gates import Notes

import procession

DEADLINE = 30
MOST_KILLS = 3  # more deaths of idle workers than that, and a pool of two is right to give up
BEHAVIOURS = ("quick", "quick", "busy", "raise", "exit", "kill")


def behave(notes: Notes, how: str, number: int) -> int:
    """Note the number, then return it at once or after some work, raise or die."""
    notes.write(number)
    if how == "busy":
        end = time.monotonic() + 0.004
        while time.monotonic() < end:
            pass
    elif how == "raise":
        raise ValueError(number)
    elif how == "exit":
        os._exit(3)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


@dataclass
class Submitted:
    """A task, and what is known about it."""

    number: int
    how: str
    task: Any
    cancelled: bool = False


class Interleavings(RuleBasedStateMachine):
    """One pool of two, and what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.notes = Notes(self.folder / "notes")
        self.pool = procession.Pool(2)
        self.submitted: list[Submitted] = []
        self.maps: list[tuple[list[int], list[Any]]] = []
        self.count = self.kills = self.deaths_in_maps = 0
        self.open = True
        self.terminated = False

    def _number(self) -> int:
        self.count += 1
        return self.count

    @rule(hows=st.lists(st.sampled_from(BEHAVIOURS), min_size=1, max_size=6))
    def submit(self, hows: list[str]) -> None:
        """Submit some tasks; refused once the pool is closed."""
        for how in hows:
            number = self._number()
            try:
                task = self.pool.submit(behave, self.notes, how, number)
            except ValueError:
                assert not self.open
            else:
                assert self.open
                self.submitted.append(Submitted(number, how, task))

    @precondition(lambda self: self.kills < MOST_KILLS and not self.terminated)
    @rule(which=st.integers(0, 1), number=st.sampled_from([signal.SIGKILL, signal.SIGTERM]))
    def kill(self, which: int, number: int) -> None:
        """Kill one of the workers, whatever it is doing."""
        workers = self.pool._pool
        self.kills += 1  # also when there was none to kill: what rules apply must not depend on real time
        if which < len(workers):
            with contextlib.suppress(ProcessLookupError, procession.StartFailed):
                os.kill(workers[which].pid, number)

    @precondition(lambda self: self.submitted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a task; one that says it was is."""
        one = data.draw(st.sampled_from(self.submitted))
        if not one.task.done() and one.task.cancel():
            one.cancelled = True

    @precondition(lambda self: self.submitted)
    @rule(data=st.data(), timeout=st.sampled_from([0, 0.0005, 0.005]))
    def ask(self, data: st.DataObject, timeout: float) -> None:
        """Ask for a result and have little patience."""
        one = data.draw(st.sampled_from(self.submitted))
        try:
            assert one.task.result(timeout) == -one.number
        except (concurrent.futures.CancelledError, procession.WorkerDied):
            assert one.task.done()
        except ValueError:
            assert one.how == "raise"
        except TimeoutError:
            pass

    @precondition(lambda self: self.open)
    @rule(size=st.integers(1, 8), how=st.sampled_from(["quick", "busy"]), chunksize=st.sampled_from([None, 1, 3]))
    def map(self, size: int, how: str, chunksize: int | None) -> None:
        """Run a whole map in between."""
        numbers = [self._number() for _ in range(size)]
        found = self.pool.map(functools.partial(behave, self.notes, how), numbers, chunksize, on_error="return")
        self.maps.append((numbers, found))

    @rule()
    def close(self) -> None:
        """Close the pool; what was submitted is still done."""
        self.pool.close()
        self.open = False

    @precondition(lambda self: len(self.submitted) > 3)
    @rule()
    def terminate(self) -> None:
        """Terminate the pool."""
        self.pool.terminate()
        self.open, self.terminated = False, True

    def teardown(self) -> None:
        """End the pool and account for every task."""
        try:
            self.pool.close()
            self.pool.join()
            kinds = {one.number: self._outcome(one) for one in self.submitted}
            self._check_deaths(list(kinds.values()))
            self._check_runs(kinds)
        finally:
            self.pool.terminate()
            shutil.rmtree(self.folder)

    def _outcome(self, one: Submitted) -> str:
        """Check that the task ended as it may, and return how."""
        assert one.task.done(), "the pool has ended, and this task has no outcome"
        if one.task.cancelled():
            assert one.cancelled or self.terminated
            return "cancelled" if one.cancelled else "dropped"
        assert not one.cancelled
        error = one.task.exception(0)
        if error is None:
            assert one.task.result(0) == -one.number
            assert one.how in ("quick", "busy")
            return "ok"
        if isinstance(error, procession.WorkerDied):
            assert one.how in ("exit", "kill") or self.kills
            return "died"
        assert (type(error), error.args, one.how) == (ValueError, (one.number,), "raise")
        return "error"

    def _check_deaths(self, kinds: list[str]) -> None:
        """Each death has cost one task at most."""
        deaths = kinds.count("died")
        for numbers, found in self.maps:
            for number, outcome in zip(numbers, found, strict=True):
                if isinstance(outcome, procession.WorkerDied):
                    deaths += 1
                else:
                    assert outcome == -number
        deadly = sum(one.how in ("exit", "kill") for one in self.submitted)
        assert deaths <= deadly + self.kills

    def _check_runs(self, kinds: dict[int, str]) -> None:
        """Nothing ran twice, what has an outcome of its own ran, and what was cancelled did not."""
        ran = [int(text) for text in self.notes.texts()]
        assert len(set(ran)) == len(ran)
        for number, kind in kinds.items():
            if kind in ("ok", "error"):
                assert number in ran
            if kind == "cancelled":
                assert number not in ran


@pytest.mark.thorough
@pytest.mark.timeout(400)  # 30 s with two cores for itself, and much longer on a busy machine
def test_every_interleaving_accounts_for_every_task() -> None:
    """Whatever is submitted, killed, cancelled, asked for, closed and terminated: each task has its one outcome."""
    options = settings(
        max_examples=200,
        stateful_step_count=15,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # real time does not shrink
        suppress_health_check=[],
    )
    run_state_machine_as_test(Interleavings, settings=options)
