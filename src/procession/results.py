"""What the calls of a pool return: results now or later, and iterators of results."""

from __future__ import annotations

import multiprocessing.pool as standard
from collections import deque
from collections.abc import Callable
from typing import Any

from procession import unread
from procession.backends.base import Backend
from procession.checks import OnError
from procession.errors import TaskCancelled, WaitTimeout
from procession.mapping.batch import Batch
from procession.mapping.collectors import ListCollector
from procession.mapping.maps import finish
from procession.mapping.stream import Stream
from procession.outcome import Attempt


class AsyncResult(standard.ApplyResult):  # type: ignore[type-arg]
    """The result of ``apply_async``, now or later."""

    def __init__(
        self,
        backend: Backend,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._backend = backend
        self._callback = callback
        self._error_callback = error_callback
        self._done = False
        self._settled = False
        self._success = False
        self._value: Any = None
        self.tries: tuple[Attempt, ...] = ()  #: that have failed before the last one
        self._unread = 0  # the number of its failure, while nobody has asked for that

    def ready(self) -> bool:
        """Whether the call is done."""
        return self._done

    def successful(self) -> bool:
        """Whether it returned a value.  On failure: ``ValueError`` while it is not done."""
        if not self._done:
            raise ValueError(f"{self!r} not ready")
        unread.heed(self._unread)
        return self._success

    def wait(self, timeout: float | None = None) -> None:
        """Block until it is done, at most ``timeout`` seconds."""
        self._backend.wait(self.ready, timeout)

    def get(self, timeout: float | None = None) -> Any:
        """Return the value, or raise the error, of the call.

        On failure also: ``multiprocessing.TimeoutError`` when ``timeout`` seconds do not bring it.
        """
        if not self._done:
            self.wait(timeout)
            if not self._done:
                raise WaitTimeout(f"no result after {timeout:g} seconds; the task goes on")
        if self._success:
            return self._value
        unread.heed(self._unread)
        raise self._value

    def attend(self) -> None:
        """Have the callbacks come although nobody waits."""
        if not self._done and (self._callback or self._error_callback):
            self._backend.attend()

    # What the engine asks of a call.

    def begin(self) -> bool:
        """Whether the call is still wanted."""
        return True

    def cancelled(self) -> bool:
        """Whether the call was dropped; there is no way to."""
        return False

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Take the outcome; the first one counts."""
        if self._settled:
            return
        self._settled = True
        success, outcome = error is None, value if error is None else error
        callback: Any = self._callback if success else self._error_callback
        try:
            if callback is not None:
                callback(outcome)
        except Exception as raised:  # as in 3.16, where it no longer ends the thread that runs it
            success, outcome = False, raised
        finally:
            if not success and (callback is None or outcome is not error) and type(outcome) is not TaskCancelled:
                self._unread = unread.note(outcome)  # before it can be asked for
            self._success, self._value = success, outcome
            self._callback = self._error_callback = None
            self._done = True


class MapResult(AsyncResult):
    """The result of ``map_async``, now or later."""

    def collect(self, collector: ListCollector, policy: OnError, batch: Batch | None) -> None:
        """Take all outcomes."""
        try:
            values = finish(collector, policy, batch)
        except BaseException as error:
            self.settle(None, error)
        else:
            self.settle(values, None)


class IMapIterator:
    """The values of ``imap``, as they come."""

    def __init__(self, stream: Stream, on_error: OnError) -> None:
        self._stream = stream
        self._on_error = on_error
        self._values: deque[Any] = deque()  # those that are taken already

    def __iter__(self) -> IMapIterator:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """The next value, or the item's error as ``on_error`` says.

        On failure also: ``multiprocessing.TimeoutError`` when ``timeout`` seconds bring none, after
        which it can be asked again; ``StopIteration`` at the end.
        """
        while True:
            try:
                return self._values.popleft()  # as one step, since threads may share the iterator
            except IndexError:
                values = self._stream.next_values()
            if values is None:
                break
            self._values.extend(values)
        while (outcome := self._stream.next(timeout)) is not None:
            error = outcome.error
            if error is None:
                return outcome.value
            if self._on_error is OnError.STOP:
                self._stream.close()
            if self._on_error in (OnError.RAISE, OnError.STOP) or self._stream.is_last_error(outcome):
                raise error
            if self._on_error is OnError.RETURN:
                return error
        raise StopIteration

    __next__ = next

    def __aiter__(self) -> IMapIterator:
        return self

    async def __anext__(self) -> Any:
        """The next value, for ``async for``; the event loop goes on meanwhile."""
        while True:
            if not self._values:
                await self._stream.wait()
            try:
                return self.next(0)
            except StopIteration:
                raise StopAsyncIteration from None
            except WaitTimeout:  # what was there is to be skipped, or another task has taken it
                continue

    def close(self) -> None:
        """Drop what is left of the input, and stop what runs."""
        self._values.clear()
        self._stream.close()

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.drop()


class IMapUnorderedIterator(IMapIterator):
    """The values of ``imap_unordered``, in the order in which they come."""
