"""Ways in which a process ends, and jobs that make it end at a chosen place.  Importable by workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.helpers.gates import Gate, Notes


@dataclass(frozen=True)
class Way:
    """How a process ends; `exitcode` None is no end but an error."""

    name: str
    exitcode: int | None

    def go(self) -> None:
        """End this process so."""
        _ENDINGS[self.name]()

    @property
    def signal(self) -> str | None:
        """The name of the signal, if it is one."""
        return signal.Signals(-self.exitcode).name if self.exitcode is not None and self.exitcode < 0 else None


def _signal(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()  # not reached: the kernel delivers before the call returns


_ENDINGS: dict[str, Callable[[], object]] = {
    "_exit-0": lambda: os._exit(0),
    "_exit-3": lambda: os._exit(3),
    "SIGKILL": lambda: _signal(signal.SIGKILL),
    "SIGSEGV": lambda: _signal(signal.SIGSEGV),
    "abort": os.abort,
    "sys.exit": lambda: sys.exit(5),
}
EXIT_0, EXIT_3 = Way("_exit-0", 0), Way("_exit-3", 3)
SIGKILL, SIGSEGV = Way("SIGKILL", -signal.SIGKILL), Way("SIGSEGV", -signal.SIGSEGV)
ABORT, SYS_EXIT = Way("abort", -signal.SIGABRT), Way("sys.exit", None)
WAYS = (EXIT_0, EXIT_3, SIGKILL, SIGSEGV, ABORT, SYS_EXIT)


class Job:
    """A number to double; a deadly one goes off `in the task`, when `unpickled`, or its `result` when pickled."""

    def __init__(self, number: int, way: Way | None = None, where: str = "", parent: int = 0) -> None:
        self.number = number
        self.way = way
        self.where = where
        self.parent = parent or os.getpid()

    def __reduce__(self) -> Any:
        return _revive, (self.number, self.way, self.where, self.parent)


def _revive(number: int, way: Way | None, where: str, parent: int) -> Job:
    if way is not None and where == "unpickled" and os.getpid() != parent:
        way.go()
    return Job(number, way, where, parent)


class _Result:
    """Goes off when pickled."""

    def __init__(self, way: Way) -> None:
        self.way = way

    def __reduce__(self) -> Any:
        self.way.go()
        return int, ()


def work(notes: Notes, job: Job) -> Any:
    """Note that the job runs, and double it or die of it."""
    notes.write(job.number)
    if job.way is not None and job.where == "task":
        job.way.go()
    return _Result(job.way) if job.way is not None and job.where == "result" else 2 * job.number


def note_and_wait(notes: Notes, gate: Gate, number: int) -> int:
    """Note that the task runs, wait at the gate and double the number."""
    notes.write(number)
    gate.wait(number)
    return 2 * number


def die_or_double(way: Way, deadly: frozenset[int], number: int) -> int:
    """Die of a deadly number; double any other."""
    if number in deadly:
        way.go()
    return 2 * number


def spin_deaf(gate: Gate) -> None:
    """Ignore every signal that can be ignored, and spin."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    gate.arrivals.write("deaf")
    while True:
        pass
