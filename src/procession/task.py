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

from procession.errors import WaitTimeout

if TYPE_CHECKING:
    from procession.backends.base import Backend

T = TypeVar("T")

_PENDING = ("PENDING", "RUNNING")
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
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error of the call, or None; waits and fails like ``result``."""
        if self._state in _PENDING:
            self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if not self._backend.wait(self.done, timeout) and not self.done():
            raise WaitTimeout(f"no result after {timeout:g} seconds; the call goes on")

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have ``fn(task)`` called when the task is done; at once if it is."""
        super().add_done_callback(fn)
        if self._state in _PENDING:
            self._backend.attend()

    def cancel(self) -> bool:
        """Drop the call if it has not been handed to a worker; return whether it was dropped."""
        cancelled = super().cancel()
        if cancelled:
            self._backend.wake()
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

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Take the outcome; the first one counts.  For the engine."""
        if self._state not in _PENDING:
            return
        with _birth:
            if self._own_condition is None:
                self._result, self._exception = value, error
                self._state = "FINISHED"
                return
        if error is None:
            self.set_result(value)
        else:
            self.set_exception(error)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the task in an event loop."""
        import asyncio

        return asyncio.wrap_future(self).__await__()
