"""Meeting points between a test and its workers, known by a path and so shared by any two processes of the machine.

A gate is a lock on a file (`flock`): the test holds it exclusively while the gate is shut, those who wait ask for it
shared. So waiting takes no CPU, a gate once open stays open, and a test that dies opens its gates. A path is all that
is pickled.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from tests.helpers.eventually import eventually


class Notes:
    """Lines that any process appends to one file; a line shorter than a page is written whole or not at all."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)

    def write(self, text: object = "") -> None:
        """Append one line with the writer's pid and `text`."""
        line = f"{os.getpid()} {text}\n".encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def lines(self) -> list[tuple[int, str]]:
        """Return what was written so far, as (pid, text), oldest first."""
        try:
            raw = Path(self.path).read_text()
        except FileNotFoundError:
            return []
        pairs = (line.split(" ", 1) for line in raw.splitlines())
        return [(int(pid), text) for pid, text in pairs]

    def texts(self) -> list[str]:
        """Return the texts alone, oldest first."""
        return [text for _, text in self.lines()]

    def pids(self) -> list[int]:
        """Return the writers, oldest first, one for each line."""
        return [pid for pid, _ in self.lines()]

    def wait_for(self, count: int, deadline: float = 20) -> list[int]:
        """Wait until `count` lines are there and return the pids of their writers."""
        eventually(lambda: len(self.lines()) >= count, deadline, describe=self.lines)
        return self.pids()


class Gate:
    """A gate that is shut when made; `wait()` in any process notes its arrival and returns once the gate is open."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self.arrivals = Notes(self.path + ".arrivals")
        self._descriptor: int | None = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "arrivals": self.arrivals, "_descriptor": None}

    def wait(self, text: object = "") -> None:
        """Note this process's pid and `text`, then block until the gate is open."""
        self.arrivals.write(text)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def wait_arrived(self, count: int = 1, deadline: float = 20) -> list[int]:
        """Wait, in the test, until `count` processes have come to the gate; return their pids in order of arrival."""
        return self.arrivals.wait_for(count, deadline)

    def open(self) -> None:
        """Let everybody through, for good."""
        # Taken out first: a test may end as soon as its gate is unlocked, and its fixture opens it once more while
        # the thread that unlocked it has not yet come to closing it.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Unlocked by name: a forked child shares the open file, so that closing it here would not unlock it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def stuck(gate: Gate) -> None:
    """Arrive at the gate and hold the GIL's attention for ever: for tests of what stops a busy worker."""
    gate.arrivals.write("stuck")
    while True:
        time.monotonic()
