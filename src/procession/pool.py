"""The pool: ``multiprocessing.pool.Pool``, name for name, on our engine.

A face: its life is here, its calls in ``calls``.
"""

from __future__ import annotations

import multiprocessing.pool as standard
import sys
import warnings
from collections.abc import Callable, Iterable
from itertools import count
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from procession.backends.base import Backend
from procession.backends.choice import make_backend
from procession.calls import AllOptions, Calls, check_supported
from procession.checks import check_count, check_tasks_per_child, check_workers
from procession.engine.settings import WorkerSettings, check_known
from procession.engine.stacks import Stacks
from procession.errors import TaskCancelled
from procession.mapping.admission import Admission
from procession.options import TaskOptions
from procession.results import AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult
from procession.worker.nesting import nesting

if TYPE_CHECKING:
    from typing_extensions import Unpack

MaybeEncodingError = standard.MaybeEncodingError  # type: ignore[attr-defined]
RemoteTraceback = standard.RemoteTraceback  # type: ignore[attr-defined]
ThreadPool = standard.ThreadPool
ApplyResult = AsyncResult
INIT, RUN, CLOSE, TERMINATE = "INIT", "RUN", "CLOSE", "TERMINATE"

__all__ = ["AsyncResult", "IMapIterator", "IMapUnorderedIterator", "MapResult", "Pool", "ThreadPool"]


class Pool(Calls, standard.Pool):  # type: ignore[misc]  # its imap returns an iterator of its own, as ours do
    """A pool of worker processes.

    Takes the arguments of ``multiprocessing.Pool``, and, by keyword, what holds for all of it:

    ``backend``: "processes", or "inline", which runs everything in the calling thread, for a debugger.

    ``block_memory``: the most shared memory that arrays on their way to and from workers may take, in
    bytes or as "2GB"; by default half of the machine's memory, or of what the control group allows.
    Calls wait when it is reached; an object that can never fit is a ``MemoryError``.

    ``memory_limit``: memory of its own, in bytes or as "2GB", above which a worker is killed within 0.1 s; its
    item is then a ``WorkerDied`` that says so.

    ``max_memory``: memory above which a worker is replaced when it has finished what it was given.

    ``idle_timeout``: seconds without any work after which the workers end; they come back with the next.

    ``stall_warning``: seconds after which a ``StallWarning`` says which item has been running for so long.

    What holds for every item, and can be changed for a single call by the same keywords, or for a view of the
    pool by ``options``:

    ``timeout``: seconds that one item may run, from its own beginning.  Then it gets a ``TaskTimeout`` raised, so
    that its ``finally`` does its work; a second later, if it still runs, its worker is killed.

    ``retries``, ``retry_on``, ``backoff``: how often an item is tried again, after which exception types (default:
    every ``Exception``; ``WorkerDied`` and ``TaskTimeout`` are among them), and after how many seconds: a number,
    or an iterable with one for each retry.  Another worker gets it where one is free.

    ``on_error``, of calls with many items: "raise" runs all items and raises the first error; "stop" stops at
    the first; "return" puts errors in their items' places; "skip" leaves those items out.

    Without ``processes`` there are as many workers as cores that may be used; in a worker of another pool, as
    many as its part of them, so that pools within pools share what there is.
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
        memory_limit: int | str | None = None,
        max_memory: int | str | None = None,
        idle_timeout: float | None = None,
        stall_warning: float | None = None,
        max_pending: int | None = None,
        **options: Unpack[AllOptions],
    ) -> None:
        self._state = INIT
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        check_known(options, "a pool")
        workers = nesting.default_workers() if processes is None else check_workers(processes)
        nesting.check(workers)
        settings = WorkerSettings(
            method="",
            initializer=initializer,
            initargs=tuple(initargs),
            chunks_per_worker=check_tasks_per_child(maxtasksperchild),
            workers=workers,
        )
        settings.set_options(
            {
                "block_memory": block_memory,
                "memory_limit": memory_limit,
                "max_memory": max_memory,
                "idle_timeout": idle_timeout,
                "stall_warning": stall_warning,
            }
        )
        self._processes = workers
        self._options = TaskOptions().changed(options)
        self._seeded_calls = count()
        self._ctx = context or _default_context()
        self._backend = make_backend(backend, settings, self._ctx)
        check_supported(self._options, self._backend)
        limit = check_count(max_pending, "max_pending")
        self._admission = None if limit is None else Admission(self._backend, limit)
        # Pools end before multiprocessing joins the children that are not daemons.
        self._finalizer = Finalize(None, _terminate, (self._backend,), exitpriority=15)
        self._state = RUN
        if initializer is not None:  # it may be all that the workers are there for: a loop that reads a queue
            self._backend.start_workers()

    def options(self, **options: Unpack[AllOptions]) -> PoolView:
        """A view of this pool for calls under other options: ``pool.options(timeout=5).submit(f, x)``."""
        return PoolView(self, self._changed(options))

    def dump_stacks(self) -> Stacks:
        """The Python stacks of every worker and the item it is on: rows, or a text when printed.

        Takes no help of the task, which may be stuck in native code.  A worker that does not answer within 2 s has
        an empty stack.
        """
        return Stacks(self._backend.dump_stacks())

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
        """Wait for the workers to end, after ``close`` or ``terminate``.

        A worker whose exit functions take longer than 10 s is killed.
        """
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


class PoolView(Calls):
    """A pool's calls, under other options than the pool's own."""

    def __init__(self, pool: Pool, options: TaskOptions) -> None:
        self._of = pool
        self._backend = pool._backend
        self._admission = pool._admission
        self._options = options
        self._seeded_calls = count()

    def options(self, **options: Unpack[AllOptions]) -> PoolView:
        """A view with further options."""
        return PoolView(self._of, self._changed(options))

    def _check_running(self) -> None:
        self._of._check_running()

    def __repr__(self) -> str:
        return f"<a view of {self._of!r}>"


def _terminate(backend: Backend) -> None:
    backend.terminate(TaskCancelled("the pool was terminated"))


def _default_context() -> Any:
    from procession.context import default_context

    return default_context.get_context()


def __getattr__(name: str) -> Any:
    """Whatever else the standard module has."""
    return getattr(standard, name)
