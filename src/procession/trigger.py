"""The trigger: a signal that has the stacks of all workers of this process printed, from outside and at any time."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, TextIO


def dump_stacks_on(number: int = signal.SIGUSR1, file: TextIO | None = None) -> Any:
    """Have the stacks of the workers of every pool written to ``file`` (stderr) when this process gets a signal.

    For a program that seems to hang: ``kill -USR1 <pid>``.  Must be called in the main thread; returns the handler
    that the signal had before.  A thread of its own does the work, since the signal may come at any moment.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=_write_all, args=(file or sys.stderr,), name="procession-stacks", daemon=True).start()

    return signal.signal(number, handle)


def _write_all(file: TextIO) -> None:
    from procession.backends.processes import all_stacks

    text = "\n\n".join(map(str, all_stacks())) or "no pool of this process has a worker"
    file.write(text + "\n")
    file.flush()
