"""What a hang shows: every stack of this process, and of each child that has faulthandler enabled."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.helpers.eventually import eventually
from tests.helpers.leaks import kept_by_libraries

TEARDOWN_LIMIT = 30  # seconds, for a test that has failed


def dump_everything() -> None:
    """Write the stacks of this process to stderr, then abort each descendant, which makes it write its own."""
    stderr = sys.__stderr__
    assert stderr is not None
    faulthandler.dump_traceback(stderr, all_threads=True)
    children = _descendants()
    for child in children:
        print(f"\n--- process {_describe(child)}", file=stderr, flush=True)
    for child in children:
        _abort(child)


def _descendants() -> list[psutil.Process]:
    try:
        children = psutil.Process().children(recursive=True)
        return [child for child in children if child.pid not in kept_by_libraries()]
    except psutil.Error:
        return []


def _describe(process: psutil.Process) -> str:
    try:
        where = Path(f"/proc/{process.pid}/wchan").read_text()
        command = " ".join(process.cmdline())[:120]
        return f"{process.pid}, child of {process.ppid()}, {process.status()} in {where}: {command}"
    except (psutil.Error, OSError):
        return f"{process.pid}, gone"


def _abort(process: psutil.Process) -> None:
    """SIGABRT: with faulthandler enabled, as in our workers, its stacks go to its stderr before it ends."""
    with contextlib.suppress(OSError, AssertionError):
        os.kill(process.pid, signal.SIGABRT)
        eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 2)


def dumping(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a signal handler that dumps everything first."""

    def dump_then_handle(*args: Any) -> Any:
        dump_everything()
        return handler(*args)

    return dump_then_handle


def limit_teardown() -> None:
    """Set an alarm that fails a teardown which hangs, as that of a test that has hung is likely to."""
    signal.signal(signal.SIGALRM, dumping(_fail))
    signal.setitimer(signal.ITIMER_REAL, TEARDOWN_LIMIT, TEARDOWN_LIMIT)


def _fail(*_: object) -> None:
    pytest.fail(f"the teardown took more than {TEARDOWN_LIMIT} s")
