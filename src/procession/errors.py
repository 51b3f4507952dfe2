"""Every error of Procession, in one tree.

    ProcessionError
    +-- WorkerDied            the process that ran an item ended      (BrokenProcessPool)
    +-- PoolBroken            workers cannot be started any more      (BrokenProcessPool)
    +-- StartFailed           a process could not be started          (OSError)
    +-- NotPicklable          an argument, function or initializer    (PicklingError, TypeError)
    +-- NotSendable           a result that cannot go back            (MaybeEncodingError)
    +-- RemoteError           stands for an error that cannot come over as itself
    +-- TaskCancelled         a task that was dropped                 (CancelledError)
    +-- WaitTimeout           a wait that was limited by the caller     (both TimeoutErrors)
    +-- UnsupportedOption     an option that the backend cannot honour (ValueError)
    +-- InternalError         a promise of the engine's own is broken: a bug of ours

A user's exception comes back as its own class, with the remote traceback as its cause; the classes
here are for everything else.  Each is also what the imitated library would raise, given in brackets,
carries its facts as attributes, and can be pickled.
"""

from __future__ import annotations

import pickle
import signal as signals
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import TimeoutError as PoolTimeoutError
from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]
from typing import Any


class ProcessionError(Exception):
    """Base of every error that Procession itself raises."""


class WorkerDied(ProcessionError, BrokenProcessPool):
    """The worker process that was running this item ended before the item had an outcome."""

    def __init__(
        self,
        pid: int,
        exitcode: int | None,
        *,
        index: int | None = None,
        item: str | None = None,
        function: str | None = None,
    ) -> None:
        super().__init__(pid, exitcode)
        self.pid = pid
        self.exitcode = exitcode
        self.index = index
        self.item = item
        self.function = function

    def copy(self) -> WorkerDied:
        """The same death, for another item that was lost with it."""
        return WorkerDied(self.pid, self.exitcode)

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended the worker, or None."""
        if self.exitcode is None or self.exitcode >= 0:
            return None
        try:
            return signals.Signals(-self.exitcode).name
        except ValueError:
            return f"signal {-self.exitcode}"

    @property
    def ending(self) -> str:
        """How the worker ended, in words."""
        return describe_ending(self.exitcode)

    def __str__(self) -> str:
        ending = self.ending
        what = f"{self.function}({self.item})" if self.item is not None else "its task"
        place = f" (item {self.index})" if self.index is not None else ""
        return (
            f"worker {self.pid} {ending} while running {what}{place}; only this item is lost, "
            f"and it was not run again. {_likely(self.exitcode)}"
        )

    def __reduce__(self) -> Any:
        fields = {"index": self.index, "item": self.item, "function": self.function}
        return _rebuild, (WorkerDied, (self.pid, self.exitcode), fields)


def _rebuild(kind: type, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    return kind(*args, **fields)


def describe_ending(exitcode: int | None) -> str:
    """Say in words how a process ended."""
    if exitcode is None:
        return "ended for an unknown reason"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    try:
        return f"was killed by {signals.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


def _likely(exitcode: int | None) -> str:
    if exitcode == -signals.SIGKILL:
        return "SIGKILL usually means that the kernel ran out of memory, or that someone killed it."
    if exitcode in (-signals.SIGSEGV, -signals.SIGBUS, -signals.SIGABRT, -signals.SIGILL):
        return "Such a signal comes from native code: an extension module crashed."
    if exitcode is not None and exitcode >= 0:
        return "Something called os._exit(), or a native library ended the process."
    return ""


class PoolBroken(ProcessionError, BrokenProcessPool):
    """Workers end before they can run anything, so the pool has given up; its cause is the last."""


class StartFailed(ProcessionError, OSError):
    """A process could not be started."""


class NotPicklable(ProcessionError, pickle.PicklingError, TypeError):
    """An object cannot travel to a worker; ``path`` names the part at fault."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be pickled, so it cannot be sent to a worker: {self.reason}"


class NotSendable(ProcessionError, MaybeEncodingError):  # type: ignore[misc]
    """A task's result cannot travel back to the caller."""

    def __init__(self, exc: str, value: str) -> None:
        # MaybeEncodingError takes the objects and keeps their reprs; here they are texts already.
        Exception.__init__(self, exc, value)
        self.exc = exc
        self.value = value

    def __str__(self) -> str:
        return (
            f"the task ran, but its result {self.value} cannot be sent back: {self.exc}. "
            "Return plain data instead: a list in place of a generator, a path in place of a file."
        )


class RemoteError(ProcessionError):
    """An error in a worker that could not be rebuilt here; the cause has its traceback."""

    def __init__(self, summary: str, reason: str) -> None:
        super().__init__(summary, reason)
        self.summary = summary
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.summary} (shown as text, since the exception did not survive the way: {self.reason})"


class TaskCancelled(ProcessionError, CancelledError):
    """The task was dropped before it had an outcome."""


_SEPARATE: Any = FutureTimeoutError
# Up to 3.10 concurrent.futures has a class of its own; from 3.11 on it is the builtin one.
_TimeoutBases: Any = (_SEPARATE,) if _SEPARATE is not TimeoutError else ()


class WaitTimeout(ProcessionError, PoolTimeoutError, *_TimeoutBases, TimeoutError):  # type: ignore[misc]
    """A result was not there within the time that the caller would wait; the task goes on."""


class UnsupportedOption(ProcessionError, ValueError):
    """An option that the chosen backend cannot honour."""


class InternalError(ProcessionError):
    """An invariant of the engine does not hold; please report it."""
