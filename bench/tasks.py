"""The functions that the subjects run: importable by every worker, and importing nothing heavy themselves."""

from __future__ import annotations

import os
import time


def increment(x: int) -> int:
    """The tiny task: its own work (some 30 ns) is nothing beside what it costs to hand it over."""
    return x + 1


def nothing(x: int) -> None:
    """The empty task, to be subtracted from one that does something."""


def wait(seconds: float) -> float:
    """A task that takes `seconds` and no processor, so that it takes as long on a busy machine as on an idle one."""
    time.sleep(seconds)
    return seconds


def pid_after(seconds: float) -> int:
    """The worker's process id, after a pause that leaves the other workers the time to take an item too."""
    time.sleep(seconds)
    return os.getpid()
