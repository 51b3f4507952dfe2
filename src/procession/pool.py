"""The pool: ``multiprocessing.pool.Pool``, name for name, on our engine.

A face: it validates, names things as the standard library does, and leaves the rest to mappings and
their backend.  Extras are keyword-only.
"""

from __future__ import annotations

import multiprocessing.pool as standard
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.util import Finalize
from typing import Any

from procession.backends.base import Backend, Capability
from procession.engine.items import CALL
from procession.errors import TaskCancelled, UnsupportedOption, WaitTimeout
from procession.mapping.collectors import ListCollector
from procession.mapping.maps import finish, run_map, start_map
from procession.mapping.sources import Calls
from procession.mapping.stream import Stream
from procession.options import (
    OnError,
    check_bytes,
    check_chunksize,
    check_on_error,
    check_tasks_per_child,
    check_workers,
)
from procession.outcome import Outcome
from procession.task import Task
from procession.wire.messages import Style

MaybeEncodingError = standard.MaybeEncodingError  # type: ignore[attr-defined]
RemoteTraceback = standard.RemoteTraceback  # type: ignore[attr-defined]
ThreadPool = standard.ThreadPool
INIT, RUN, CLOSE, TERMINATE = "INIT", "RUN", "CLOSE", "TERMINATE"

__all__ = ["Pool", "ThreadPool"]


class Pool(standard.Pool):
    """A pool of worker processes.

    Takes the arguments of ``multiprocessing.Pool``, and

    ``backend``: "processes", or "inline", which runs everything in the calling thread, for a debugger.

    ``block_memory``: the most shared memory that arrays on their way to and from workers may take, in
    bytes or as "2GB"; by default half of the machine's memory, or of what the control group allows.
    Calls wait when it is reached; an object that can never fit is a ``MemoryError``.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        backend: str = "processes",
        block_memory: int | str | None = None,
    ) -> None:
        self._state = INIT
        workers = _default_workers() if processes is None else check_workers(processes)
        chunks = check_tasks_per_child(maxtasksperchild)
        memory = check_bytes(block_memory, "block_memory")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._processes = workers
        self._ctx = context or _default_context()
        self._backend = _make_backend(backend, workers, self._ctx, initializer, tuple(initargs), chunks, memory)
        # Pools end before multiprocessing joins the children that are not daemons.
        self._finalizer = Finalize(None, _terminate, (self._backend,), exitpriority=15)
        self._state = RUN

    # One call at a time.

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Run ``fn(*args, **kwargs)`` in a worker; return its task at once.

        The arguments are pickled now.  On failure: ``NotPicklable``; ``ValueError`` when closed.
        """
        self._check_running()
        backend = self._backend
        task: Task[Any] = Task(backend)
        function = backend.intern(fn, thorough=False)
        frame, definitions = backend.encode((args, kwargs), CALL)
        backend.append(Calls, function, (task, frame, definitions))
        return task

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> Any:
        """Run ``func(*args, **kwds)`` in a worker and return its value."""
        return self.submit(func, *args, **kwds).result()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """Run ``func(*args, **kwds)`` in a worker; return its result object at once.

        A callback runs before the result is ready; one that raises makes its error the result.
        """
        self._check_running()
        backend = self._backend
        function = backend.intern(func, thorough=False)
        frame, definitions = backend.encode((tuple(args), dict(kwds)), CALL)
        result = AsyncResult(backend, callback, error_callback)
        backend.append(Calls, function, (result, frame, definitions))
        result.attend()
        return result

    # Many items, one list.

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        on_error: str = "raise",
    ) -> list[Any]:
        """Return ``[func(item) for item in iterable]``, computed by the workers, in order.

        ``on_error``: "raise" runs all items and raises the first error; "stop" stops at the first;
        "return" puts errors in their items' places; "skip" leaves those items out.
        """
        return self._map(func, iterable, Style.MAP, chunksize, on_error)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        on_error: str = "raise",
    ) -> list[Any]:
        """Like ``map``, for items that are the arguments: ``func(*item)``."""
        return self._map(func, iterable, Style.STAR, chunksize, on_error)

    def _map(self, func: Any, iterable: Iterable[Any], style: Style, chunksize: Any, on_error: Any) -> list[Any]:
        self._check_running()
        size, policy = check_chunksize(chunksize), check_on_error(on_error)
        function = self._backend.intern(func, thorough=True)
        return run_map(self._backend, function, iterable, style=style, chunksize=size, on_error=policy)

    def map_async(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        on_error: str = "raise",
    ) -> MapResult:
        """Like ``map``, but return the result object at once.  All items are pickled now."""
        result = MapResult(self._backend, callback, error_callback)
        return self._map_async(result, func, iterable, Style.MAP, chunksize, on_error)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        on_error: str = "raise",
    ) -> MapResult:
        """Like ``starmap``, but return the result object at once.  All items are pickled now."""
        result = MapResult(self._backend, callback, error_callback)
        return self._map_async(result, func, iterable, Style.STAR, chunksize, on_error)

    def _map_async(
        self,
        result: MapResult,
        func: Any,
        iterable: Iterable[Any],
        style: Style,
        chunksize: Any,
        on_error: Any,
    ) -> MapResult:
        self._check_running()
        size, policy = check_chunksize(chunksize), check_on_error(on_error)
        function = self._backend.intern(func, thorough=True)
        start_map(
            self._backend,
            function,
            iterable,
            style=style,
            chunksize=size,
            on_error=policy,
            on_done=lambda collector: result.collect(collector, policy),
        )
        result.attend()
        return result

    # Many items, one iterator.

    def imap(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        on_error: str = "raise",
    ) -> IMapIterator:
        """Like ``map``, but yield the values in order as they come; items are pulled as needed."""
        return self._imap(func, iterable, chunksize, on_error, ordered=True)

    def imap_unordered(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
        *,
        on_error: str = "raise",
    ) -> IMapIterator:
        """Like ``imap``, but yield the values in the order in which they come."""
        return self._imap(func, iterable, chunksize, on_error, ordered=False)

    def _imap(
        self, func: Any, iterable: Iterable[Any], chunksize: Any, on_error: Any, *, ordered: bool
    ) -> IMapIterator:
        self._check_running()
        size, policy = check_chunksize(chunksize), check_on_error(on_error)
        function = self._backend.intern(func, thorough=True)
        stream = Stream(self._backend, function, iterable, style=Style.MAP, chunksize=size, ordered=ordered)
        return IMapIterator(stream, policy) if ordered else IMapUnorderedIterator(stream, policy)

    def outcomes(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        ordered: bool = True,
    ) -> Iterator[Outcome]:
        """Yield an ``Outcome`` for every item: its kind, its value or error, and its seconds.

        Nothing is raised for an item.  An error of ``iterable`` itself is raised in its place.
        """
        self._check_running()
        size = check_chunksize(chunksize)
        function = self._backend.intern(func, thorough=True)
        stream = Stream(
            self._backend,
            function,
            iterable,
            style=Style.MAP,
            chunksize=size,
            ordered=ordered,
            timed=True,
        )
        return _outcomes(stream)

    # The end.

    def close(self) -> None:
        """Take no more work; the workers end when what there is has been done."""
        if self._state == RUN:
            self._state = CLOSE
            self._backend.close()

    def terminate(self) -> None:
        """Stop the workers at once; what has no result yet is cancelled."""
        self._state = TERMINATE
        if self._finalizer.still_active():
            self._finalizer()

    def join(self) -> None:
        """Wait for the workers to end, after ``close`` or ``terminate``."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._backend.wait_ended()
        if self._finalizer.still_active():
            self._finalizer.cancel()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.terminate()

    def __del__(
        self,
        _warn: Any = warnings.warn,
        _running: str = RUN,
        _finalizing: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        if getattr(self, "_state", None) == _running and not _finalizing():
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
            self.terminate()

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__qualname__} state={self._state} pool_size={self._processes}>"

    @property
    def _pool(self) -> list[Any]:
        """The worker processes; all of them, since clients count them."""
        if self._state == RUN:
            self._backend.start_workers()
        return self._backend.worker_processes()

    @property
    def broken(self) -> BaseException | None:
        """Why the pool has given up, or None."""
        return self._backend.broken

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")


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

    def ready(self) -> bool:
        """Whether the call is done."""
        return self._done

    def successful(self) -> bool:
        """Whether it returned a value.  On failure: ``ValueError`` while it is not done."""
        if not self._done:
            raise ValueError(f"{self!r} not ready")
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
            self._success, self._value = success, outcome
            self._callback = self._error_callback = None
            self._done = True


class MapResult(AsyncResult):
    """The result of ``map_async``, now or later."""

    def collect(self, collector: ListCollector, policy: OnError) -> None:
        """Take all outcomes."""
        try:
            values = finish(collector, policy)
        except BaseException as error:
            self.settle(None, error)
        else:
            self.settle(values, None)


ApplyResult = AsyncResult


class IMapIterator:
    """The values of ``imap``, as they come."""

    def __init__(self, stream: Stream, on_error: OnError) -> None:
        self._stream = stream
        self._on_error = on_error

    def __iter__(self) -> IMapIterator:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """The next value, or the item's error as ``on_error`` says.

        On failure also: ``multiprocessing.TimeoutError`` when ``timeout`` seconds bring none, after
        which it can be asked again; ``StopIteration`` at the end.
        """
        while (outcome := self._stream.next(timeout)) is not None:
            error = outcome.error
            if error is None:
                return outcome.value
            if self._on_error is OnError.STOP:
                self._stream.close()
            if self._on_error in (OnError.RAISE, OnError.STOP) or self._stream.is_input_error(outcome):
                raise error
            if self._on_error is OnError.RETURN:
                return error
        raise StopIteration

    __next__ = next

    def close(self) -> None:
        """Drop what is left of the input, and stop what runs."""
        self._stream.close()

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()


class IMapUnorderedIterator(IMapIterator):
    """The values of ``imap_unordered``, in the order in which they come."""


def _outcomes(stream: Stream) -> Iterator[Outcome]:
    try:
        while (outcome := stream.next()) is not None:
            if stream.is_input_error(outcome):
                raise outcome.error or AssertionError
            yield outcome
    finally:
        stream.close()


def _make_backend(
    name: str,
    workers: int,
    context: Any,
    initializer: Callable[..., Any] | None,
    initargs: tuple[Any, ...],
    chunks: int | None,
    block_memory: int | None,
) -> Backend:
    """Make the backend of this name, if it can do what is asked.  On failure: ``ValueError``."""
    if name == "processes":
        method = context.get_start_method()
        if method == "forkserver":
            from procession.launch.server import server

            server.ensure()  # it boots while this process imports the engine
        from procession.backends.processes import Processes
        from procession.engine.crew import WorkerSettings

        return Processes(workers, WorkerSettings(method, initializer, initargs, chunks), block_memory)
    if name == "inline":
        from procession.backends.inline import Inline

        if chunks is not None and Capability.RECYCLING not in Inline.capabilities:
            raise UnsupportedOption("the inline backend has no workers to replace: no maxtasksperchild")
        if block_memory is not None:
            raise UnsupportedOption("the inline backend sends nothing to workers: no block_memory")
        return Inline(workers, initializer, initargs)
    raise ValueError(f"backend must be 'processes' or 'inline', not {name!r}")


def _terminate(backend: Backend) -> None:
    backend.terminate(TaskCancelled("the pool was terminated"))


def _default_workers() -> int:
    from procession.system import usable_cores

    return usable_cores()


def _default_context() -> Any:
    from procession.context import default_context

    return default_context.get_context()
