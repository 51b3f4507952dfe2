"""A task: the future of one call.

A ``concurrent.futures.Future`` in every respect, which also can be awaited.  Waiting for it drives the
engine; whoever waits for it in another way (``wait``, ``as_completed``, a callback, an event loop)
has the relief thread drive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from procession import unread
from procession.errors import TaskCancelled, WaitTimeout
from procession.outcome import Attempt, OutcomeKind, kind_of

if TYPE_CHECKING:
    from procession.backends.base import Backend

T = TypeVar("T")

_PENDING = ("PENDING", "RUNNING")
#: A condition is held for microseconds; one that is not free for so long will never be.  Where one has been left
#: locked there are more, so the others are waited for less.
_LEAKED_SECONDS = (1.0, 0.01)
_leaks = 0
_NO_WAITERS: list[Any] = []
_birth = threading.Lock()


class Task(Future[T]):
    """The outcome of one call, now or later."""

    # A future makes its condition at once, which costs more than all the rest of it.  A task makes it
    # when somebody asks for it; `_birth` orders that against the arrival of the outcome:
    #     settle: no condition yet; stores the outcome, FINISHED  | asker: makes it, sees FINISHED
    #     asker: makes it, PENDING, waits on it                   | settle: sees it, notifies

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._own_condition: threading.Condition | None = None
        self._state = "PENDING"
        self._result: Any = None
        self._exception: BaseException | None = None
        self._attended: list[Any] = _NO_WAITERS
        self._done_callbacks: list[Callable[[Future[T]], object]] = []
        self.tries: tuple[Attempt, ...] = ()  # that have failed before the last one
        self._unread = 0  # the number of its failure, while nobody has asked for that

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try of the call so far that has ended, the last one included."""
        if not self.done():
            return self.tries
        error = self._exception
        if self._state != "FINISHED":
            kind = OutcomeKind.CANCELLED
        else:
            kind = OutcomeKind.OK if error is None else kind_of(error)
        return (*self.tries, Attempt(kind, error, None))

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        condition = self._own_condition
        if condition is None:
            with _birth:
                condition = self._own_condition
                if condition is None:
                    condition = self._own_condition = threading.Condition()
        return condition

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        # `concurrent.futures.wait` and `as_completed` put themselves here, and then sleep.
        if self._attended is _NO_WAITERS:
            self._attended = []
        if self._state in _PENDING:
            self._backend.attend()
        return self._attended

    def cancelled(self) -> bool:
        """Whether the call was dropped or stopped."""
        # Without the condition: a Ctrl-C within a wait may have left that locked, and the engine asks, too.
        return self._state in ("CANCELLED", "CANCELLED_AND_NOTIFIED")

    def done(self) -> bool:
        """Whether the call has its outcome, or was dropped."""
        return self._state not in _PENDING

    def result(self, timeout: float | None = None) -> T:
        """Return the value, waiting up to ``timeout`` seconds for it.

        On failure: the error of the call; ``TimeoutError`` when the time is up, which does not stop
        the call; ``CancelledError``.
        """
        if self._state in _PENDING:
            self._wait(timeout)
        if self._state == "FINISHED" and self._exception is None:
            value: T = self._result
            return value
        self._raise_if_stopped()
        unread.heed(self._unread)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error of the call, or None; waits and fails like ``result``."""
        if self._state in _PENDING:
            self._wait(timeout)
        self._raise_if_stopped()
        unread.heed(self._unread)
        return super().exception(0)

    def _raise_if_stopped(self) -> None:
        """Of a call that was cancelled otherwise than by ``cancel()``, say how."""
        if type(self._exception) is TaskCancelled:
            raise self._exception

    def _wait(self, timeout: float | None) -> None:
        if not self._backend.wait(self.done, timeout) and not self.done():
            raise WaitTimeout(f"no result after {timeout:g} seconds; the call goes on")

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have ``fn(task)`` called when the task is done; at once if it is."""
        super().add_done_callback(fn)
        if self._state in _PENDING:
            self._backend.attend()
        unread.heed(self._unread)

    def cancel(self, interrupt: bool = False) -> bool:
        """Drop the call if it has not been handed to a worker; return whether it was dropped.

        With ``interrupt`` also stop it if it runs: it gets an exception, so that ``finally`` does its work, and a
        second later, if it still runs, its worker is killed.  Returns at once, False only if the call was done;
        the task is cancelled when the call has ended, unless it had its result before that.
        """
        cancelled = super().cancel()
        if cancelled:
            self._backend.wake()
        elif interrupt and not self.done():
            self._backend.stop(self)
            return True
        return cancelled

    def begin(self) -> bool:
        """Mark the call as handed out; return whether it is still wanted.  For the engine."""
        if self._state == "RUNNING":  # handed out before, to a worker that died before it began
            return True
        with _birth:
            if self._own_condition is None:
                self._state = "RUNNING"
                return True
        return self.set_running_or_notify_cancel()

    def set_running_or_notify_cancel(self) -> bool:
        """See ``Future``.  For the engine."""
        self._drop_leaked_condition()
        return super().set_running_or_notify_cancel()

    def _drop_leaked_condition(self) -> None:
        """Go on with another condition where one is locked for ever.

        The standard library's ``wait`` takes the conditions of all its futures one by one, in Python code:
            main thread: in wait(), has taken this one | Ctrl-C: leaves it taken | engine: the outcome is here
        """
        global _leaks
        condition = self._own_condition
        if condition is None:
            return
        if condition.acquire(timeout=_LEAKED_SECONDS[_leaks > 0]):
            condition.release()
        else:
            _leaks += 1
            self._own_condition = None

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Take the outcome; the first one counts.  For the engine."""
        if self._state not in _PENDING:
            return
        if type(error) is TaskCancelled:
            self._settle_cancelled(error)
            return
        if error is not None and not self._done_callbacks:
            self._unread = unread.note(error)  # before it can be asked for
        with _birth:
            if self._own_condition is None:
                self._result, self._exception = value, error
                self._state = "FINISHED"
                return
        self._drop_leaked_condition()
        if error is None:
            self.set_result(value)
        else:
            self.set_exception(error)
            if self._done_callbacks:  # one was added after the look above
                unread.heed(self._unread)

    def _settle_cancelled(self, error: TaskCancelled) -> None:
        """End as a future ends that was cancelled, though it may have run."""
        self._drop_leaked_condition()
        with self._condition:
            if self._state not in _PENDING:  # by `cancel()`, in another thread
                return
            self._exception = error
            self._state = "CANCELLED"
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined]
        self.set_running_or_notify_cancel()

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the task in an event loop."""
        import asyncio

        return asyncio.wrap_future(self).__await__()
