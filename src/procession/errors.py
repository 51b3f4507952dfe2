"""Every error of Procession, in one tree.

    ProcessionError
    +-- WorkerDied            the process that ran an item ended      (BrokenProcessPool)
    +-- PoolBroken            workers cannot be started any more      (BrokenProcessPool)
    +-- StartFailed           a process could not be started          (OSError)
    +-- SendFailed            an item could not be sent               (OSError)
    +-- NotPicklable          an argument, function or initializer    (PicklingError, TypeError)
    +-- NotSendable           a result that cannot go back            (MaybeEncodingError, PicklingError)
    +-- RemoteError           stands for an error that cannot come over as itself
    +-- TaskCancelled         a task that was dropped                 (CancelledError)
    +-- TaskTimeout           a task that ran longer than it may      (both TimeoutErrors)
    +-- PoolFull              a call for which a bounded pool has no place (queue.Full)
    +-- JournalError          a journal cannot be used                (OSError)
    |   +-- JournalFailed     it cannot be written
    |   +-- JournalLocked     another process writes it
    |   +-- NoJournal         the file is something else, or was cut off
    |   +-- JournalUnsafe     others may have written the file
    |   +-- JournalChanged    it is of another version of the function
    +-- JournalWarning        it is of another version of the function  (RuntimeWarning)
    +-- TooManyFailures       more items failed than max_failures allows
    +-- WaitTimeout           a wait that was limited by the caller     (both TimeoutErrors)
    +-- StallWarning          an item runs for suspiciously long      (RuntimeWarning)
    +-- ForkFallback          a pool whose workers have to be forks    (RuntimeWarning)
    +-- NestingLimit          too many pools within pools             (RuntimeError)
    +-- UnsupportedOption     an option that the backend cannot honour (ValueError)
    +-- InternalError         a promise of the engine's own is broken: a bug of ours

A user's exception comes back as its own class, with the remote traceback as its cause; the classes
here are for everything else.  Each is also what the imitated library would raise, given in brackets,
carries its facts as attributes, and can be pickled.
"""

from __future__ import annotations

import pickle
import queue
import signal as signals
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import TimeoutError as PoolTimeoutError
from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]
from typing import Any

from procession.endings import describe_ending, likely_cause


class ProcessionError(Exception):
    """Base of every error that Procession itself raises."""


class WorkerDied(ProcessionError, BrokenProcessPool):
    """The worker process that was running this item ended before the item had an outcome.

    ``item`` is a short text of it, ``seconds`` how long it had run, ``peak_memory`` the most memory of the worker
    in bytes; ``out_of_memory`` whether memory was the cause, as far as that can be told; ``memory_limit`` the
    limit that it was killed for, if it was; ``was_wanted`` whether the owner of the workers has killed it;
    ``stderr`` the last lines that it wrote there; ``stack`` its Python stacks, if native code crashed.  What is not
    known is None, or empty.
    """

    def __init__(
        self,
        pid: int,
        exitcode: int | None,
        *,
        index: int | None = None,
        item: str | None = None,
        function: str | None = None,
        seconds: float | None = None,
        peak_memory: int | None = None,
        out_of_memory: bool = False,
        memory_limit: int | None = None,
        stderr: str = "",
        stack: str = "",
    ) -> None:
        super().__init__(pid, exitcode)
        self.pid = pid
        self.exitcode = exitcode
        self.index = index
        self.item = item
        self.function = function
        self.seconds = seconds
        self.peak_memory = peak_memory
        self.out_of_memory = out_of_memory
        self.memory_limit = memory_limit
        self.stderr = stderr
        self.stack = stack
        self.was_wanted = False

    def _fields(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key in _DEATH_FIELDS}

    def copy(self) -> WorkerDied:
        """The same death, for another item that was lost with it."""
        death = WorkerDied(self.pid, self.exitcode, **self._fields())
        death.was_wanted = self.was_wanted
        return death

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
        if self.memory_limit is not None:
            return f"was killed for using more memory than memory_limit={self.memory_limit:,} bytes"
        return describe_ending(self.exitcode)

    def __str__(self) -> str:
        what = f"{self.function}({self.item})" if self.item is not None else "its task"
        place = f" (item {self.index})" if self.index is not None else ""
        ran = f", {self.seconds:.3g} s after that had begun" if self.seconds is not None else ""
        text = (
            f"worker {self.pid} {self.ending} while running {what}{place}{ran}; only this item is lost, "
            f"and it was not run again. {self._cause()}"
        ).rstrip()
        if self.stderr.strip():
            text += f"\nIts last lines on stderr:\n{_indented(self.stderr)}"
        if self.stack.strip():
            text += f"\nWhere it was:\n{_indented(self.stack)}"
        return text

    def _cause(self) -> str:
        """Why it probably was, and what to do."""
        used = f" It had used {self.peak_memory:,} bytes at most." if self.peak_memory else ""
        if self.memory_limit is not None:
            return f"Send it less at a time, or raise the limit.{used}"
        if self.out_of_memory:
            return (
                f"The system ran out of memory.{used} Use fewer workers, send smaller items, or "
                "set memory_limit= to be told sooner."
            )
        return likely_cause(self.exitcode) + (used if self.exitcode == -signals.SIGKILL else "")

    def __reduce__(self) -> Any:
        return _rebuild, (WorkerDied, (self.pid, self.exitcode), self._fields())


_DEATH_FIELDS = {
    "index", "item", "function", "seconds", "peak_memory", "out_of_memory", "memory_limit", "stderr", "stack",
}  # fmt: skip


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def _rebuild(kind: type, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    return kind(*args, **fields)


class PoolBroken(ProcessionError, BrokenProcessPool):
    """Workers end before they can run anything, so the pool has given up; its cause is the last."""


class StartFailed(ProcessionError, OSError):
    """A process could not be started."""


class SendFailed(ProcessionError, OSError):
    """The system had no descriptor or memory for sending items to a worker; they have not run."""


class NotPicklable(ProcessionError, pickle.PicklingError, TypeError):
    """An object cannot travel to a worker; ``path`` names the part at fault."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be pickled, so it cannot be sent to a worker: {self.reason}"


class NotSendable(ProcessionError, MaybeEncodingError, pickle.PicklingError):  # type: ignore[misc]
    """A task's result cannot travel back to the caller.

    A pool's is a ``MaybeEncodingError``, and an executor's is whatever pickling raised: most often ``PicklingError``.
    """

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


class TaskTimeout(ProcessionError, PoolTimeoutError, *_TimeoutBases, TimeoutError):  # type: ignore[misc]
    """An item ran longer than its ``timeout``, and was stopped.

    Raised in the worker, so that ``finally`` and ``with`` do their work there; a call that goes on for more than a
    second after that, in native code or since it swallows the exception, has its worker killed.
    """

    def __init__(
        self,
        seconds: float,
        *,
        index: int | None = None,
        item: str | None = None,
        function: str | None = None,
        killed: bool = False,
    ) -> None:
        super().__init__(seconds)
        self.seconds = seconds  #: that it might have run
        self.index = index
        self.item = item
        self.function = function
        self.killed = killed  #: whether it took the end of its worker to stop it

    def copy(self) -> TaskTimeout:
        """The same, for another item that was stopped with it."""
        return TaskTimeout(self.seconds, killed=self.killed)

    def __str__(self) -> str:
        what = f"{self.function}({self.item})" if self.item is not None else "the task"
        place = f" (item {self.index})" if self.index is not None else ""
        how = "; it did not react, so its worker was killed" if self.killed else ""
        return f"{what}{place} ran longer than its timeout of {self.seconds:g} s, and was stopped{how}"

    def __reduce__(self) -> Any:
        return TaskTimeout, (self.seconds,), vars(self)


class WaitTimeout(ProcessionError, PoolTimeoutError, *_TimeoutBases, TimeoutError):  # type: ignore[misc]
    """A result was not there within the time that the caller would wait; the task goes on."""


class JournalError(ProcessionError, OSError):
    """A journal cannot be used.

    ``results`` has the values that a map had when its journal failed, by the positions of their items.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno
        self.results: dict[int, Any] = {}

    def __str__(self) -> str:
        return str(self.args[0])


class JournalFailed(JournalError):
    """The file cannot be opened or written: the disk is full, the folder read-only."""


class JournalLocked(JournalError):
    """Another process writes this journal."""


class NoJournal(JournalError):
    """The file is something else, or was cut off, or is of another version."""


class JournalUnsafe(JournalError):
    """Others than its owner may have written the file, and reading a journal can run what is in it."""


class JournalChanged(JournalError):
    """The function is another than the one whose outcomes the journal has, and ``on_change`` is "refuse"."""


class PoolFull(ProcessionError, queue.Full):
    """As many calls are without an outcome as ``max_pending`` allows, so this one was not taken."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit:,} calls are pending, and max_pending={limit} allows no more; submit() waits")

    def __reduce__(self) -> Any:
        return PoolFull, (self.limit,)


class TooManyFailures(ProcessionError):
    """More items have failed than ``max_failures`` allows, so the rest was not run.

    ``failures`` and ``done`` count items, ``limit`` is what was allowed; ``results`` has the values that there
    were, by the positions of their items.  The cause is the last failure.
    """

    def __init__(self, failures: int, done: int, limit: str) -> None:
        self.failures = failures
        self.done = done
        self.limit = limit
        self.results: dict[int, Any] = {}
        super().__init__(
            f"{failures:,} of {done:,} items failed, and max_failures={limit} allows no more; the rest was not run"
        )

    def __reduce__(self) -> Any:
        return TooManyFailures, (self.failures, self.done, self.limit), {"results": self.results}


class JournalWarning(ProcessionError, RuntimeWarning):
    """A journal has outcomes of another version of the function."""


class StallWarning(ProcessionError, RuntimeWarning):
    """An item has been running for longer than ``stall_warning`` seconds."""


class ForkFallback(ProcessionError, RuntimeWarning):
    """The workers of a pool are forks of this process, since its initializer's arguments cannot be pickled."""


class NestingLimit(ProcessionError, RuntimeError):
    """Pools within pools would start processes without end."""


class UnsupportedOption(ProcessionError, ValueError):
    """An option that the chosen backend cannot honour."""


class InternalError(ProcessionError):
    """An invariant of the engine does not hold; please report it."""
