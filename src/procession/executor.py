"""The executor: ``concurrent.futures.ProcessPoolExecutor``, name for name, on our engine.

A face.  What the standard executor promises holds: ``submit`` never fails for its arguments (the future does),
``map`` takes all of its input at once unless ``buffersize`` is given, ``shutdown`` and the interpreter's exit wait for
what was submitted, also when the executor itself is dropped.  What differs: a dead worker costs its own future, and
the others go on.
"""

from __future__ import annotations

import concurrent.futures as standard
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from procession import finishing
from procession.backends.base import Backend
from procession.backends.choice import make_backend
from procession.calls import ONE, AllOptions, check_supported
from procession.checks import OnError, check_chunksize, check_count
from procession.engine.settings import WorkerOptions, WorkerSettings, check_known
from procession.errors import NotPicklable, TaskCancelled, UnsupportedOption
from procession.mapping.admission import Admission
from procession.mapping.batch import shortest
from procession.mapping.single import run_call
from procession.mapping.stream import Stream
from procession.mapping.window import UNBOUNDED
from procession.options import TaskOptions
from procession.task import Task
from procession.wire.messages import Style
from procession.worker.nesting import nesting

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from procession.wire.parcel import Known

    class ExecutorOptions(WorkerOptions, AllOptions, total=False):
        """What an executor takes beyond the standard library's."""

        backend: str
        max_pending: int | None


_WORKER_OPTIONS = WorkerOptions.__annotations__.keys()


class _Executing(standard.Executor):
    """What an executor and a view of it have in common: ``submit`` and ``map``, under the options that hold."""

    _backend: Backend
    _options: TaskOptions
    _seeded_calls: Iterator[int]  #: their positions
    _admission: Admission | None

    def _check_open(self) -> None:
        raise NotImplementedError

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Run ``fn(*args, **kwargs)`` in a worker; return its future at once.

        The arguments are pickled now; if they cannot be, the future has that error.  On failure: ``RuntimeError``
        after ``shutdown``, ``BrokenProcessPool``.
        """
        task: Task[Any] = Task(self._backend)
        if self._admission is None:
            self._send(task, fn, args, kwargs)
        else:
            with self._admission.entered(task.done, wait=True):
                self._send(task, fn, args, kwargs)
        return task

    def _send(
        self, task: Task[Any], fn: Callable[..., Any], args: Any, kwargs: Any, known: Known | None = None
    ) -> None:
        """Have a call run, with the outcome for ``task``; of ``known`` arrays only those are sent that are not."""
        self._check_open()
        try:
            run_call(self._backend, task, fn, args, kwargs, self._options, self._seeded_calls, known)
        except (NotPicklable, MemoryError) as error:
            task.settle(None, error)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = ONE,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Return an iterator like ``map(fn, *iterables)``, computed by the workers, in order.

        ``timeout`` is that of the wait, in seconds from now; ``options(timeout=...)`` limits the calls themselves.
        All input is taken now, or with ``buffersize`` never more than so many chunks ahead of what has been
        yielded.  On failure: the first error, in its place, unless ``on_error`` says otherwise; ``TimeoutError``.
        """
        end = None if timeout is None else time.monotonic() + timeout
        size = self._options.chunksize if chunksize is ONE and self._options.chunksize else _check_chunksize(chunksize)
        window = _check_buffersize(buffersize) * size if buffersize is not None else self._options.window
        if self._submit_is_replaced:  # whoever does so wants to see every call
            if buffersize is not None or self._options.for_many:
                names = ", ".join(["buffersize"] if buffersize is not None else self._options.for_many)
                raise UnsupportedOption(f"map goes through a submit that was replaced, where there is no {names}")
            return super().map(fn, *iterables, timeout=timeout, chunksize=size)
        self._check_open()
        single = len(iterables) == 1
        stream = Stream(
            self._backend,
            fn,
            iterables[0] if single else zip(*iterables),  # noqa: B905
            style=Style.MAP if single else Style.STAR,
            chunksize=size,
            options=self._options,
            ordered=self._options.ordered is not False,
            window=UNBOUNDED if window is None else min(UNBOUNDED, window),
            by_caller=window is not None,
            total=shortest(iterables),
        )
        return _results(stream, end, self._options.on_error)

    @property
    def _submit_is_replaced(self) -> bool:
        return "submit" in vars(self) or type(self).submit is not _Executing.submit

    def _choose(self, changes: Mapping[str, Any]) -> TaskOptions:
        options = self._options.changed(changes)
        check_supported(options, self._backend)
        return options


class ProcessPoolExecutor(_Executing, standard.ProcessPoolExecutor):
    """An executor on worker processes.

    Takes the arguments of ``concurrent.futures.ProcessPoolExecutor`` and, by keyword, the options of ``Pool``:
    ``timeout``, ``retries``, ``retry_on``, ``backoff``, ``on_error`` for its calls; ``memory_limit``,
    ``max_memory``, ``idle_timeout``, ``stall_warning``, ``block_memory`` and ``backend`` for its workers;
    ``max_pending`` for how many calls may wait and run before ``submit`` waits for one to be done.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        **options: Unpack[ExecutorOptions],
    ) -> None:
        workers = _check_workers(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        nesting.check(workers)
        check_known(options, "an executor")
        chosen: dict[str, Any] = dict(options)
        name = chosen.pop("backend", "processes")
        limit = check_count(chosen.pop("max_pending", None), "max_pending")
        self._mp_context = _choose_context(mp_context, max_tasks_per_child)
        settings = WorkerSettings(
            method="",
            initializer=initializer,
            initargs=tuple(initargs),
            chunks_per_worker=max_tasks_per_child,
            workers=workers,
        )
        settings.set_options({key: chosen.pop(key) for key in _WORKER_OPTIONS & chosen.keys()})  # type: ignore[arg-type]
        self._options = TaskOptions().changed(chosen)
        self._seeded_calls = count()
        self._max_workers = workers
        self._is_shut_down = False
        self._backend = make_backend(name, settings, self._mp_context)
        check_supported(self._options, self._backend)
        self._admission = None if limit is None else Admission(self._backend, limit)
        self._finalizer = finishing.watch(self, self._backend)

    def options(self, **options: Unpack[AllOptions]) -> ExecutorView:
        """A view of this executor for calls under other options: ``executor.options(timeout=5).submit(f, x)``."""
        return ExecutorView(self, self._choose(options))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; ``wait`` until all are done, dropping first those that are queued, if asked to."""
        self._close()
        if cancel_futures:
            self._backend.cancel_queued(TaskCancelled("the executor was shut down"))
        if wait:
            finishing.finish(self._backend)
        else:
            finishing.finish_later(self._backend)

    def _close(self) -> None:
        self._is_shut_down = True
        self._finalizer.detach()
        self._backend.close()

    def terminate_workers(self) -> None:
        """Drop what is queued and end the workers by SIGTERM; what they run is a ``WorkerDied``."""
        self._end_workers(lambda worker: worker.terminate())

    def kill_workers(self) -> None:
        """Drop what is queued and kill the workers; what they run is a ``WorkerDied``."""
        self._end_workers(lambda worker: worker.kill())

    def _end_workers(self, end: Callable[[Any], None]) -> None:
        self._close()
        self._backend.cancel_queued(TaskCancelled("the workers of the executor were ended"), handed_out=True)
        for worker in self._backend.worker_processes():
            end(worker)
        finishing.finish_later(self._backend)

    def __exit__(self, exc_type: type[BaseException] | None, exc_val: object, exc_tb: object) -> None:
        """Shut down and wait; but when a Ctrl-C leaves the block, end at once."""
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self._close()
            self._backend.terminate(TaskCancelled("the executor was interrupted"))
            finishing.forget(self._backend)
            return
        self.shutdown()

    def __repr__(self) -> str:
        kind = type(self)
        state = "shut down" if self._is_shut_down else "running"
        return f"<{kind.__module__}.{kind.__qualname__} {state}, max_workers={self._max_workers}>"

    @property
    def _processes(self) -> dict[int, Any]:  # type: ignore[override]
        """The living workers by their pids, as clients know them."""
        return {worker.pid: worker for worker in self._backend.worker_processes()}

    @property
    def _broken(self) -> BaseException | bool:  # type: ignore[override]
        """Why nothing can be run any more, or False."""
        return self._backend.broken or False

    def _check_open(self) -> None:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if finishing.exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")


class ExecutorView(_Executing):
    """An executor's calls, under other options than the executor's own."""

    def __init__(self, executor: ProcessPoolExecutor, options: TaskOptions) -> None:
        self._of = executor
        self._backend = executor._backend
        self._admission = executor._admission
        self._options = options
        self._seeded_calls = count()

    def options(self, **options: Unpack[AllOptions]) -> ExecutorView:
        """A view with further options."""
        return ExecutorView(self._of, self._choose(options))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor down that this is a view of."""
        self._of.shutdown(wait, cancel_futures=cancel_futures)

    def _check_open(self) -> None:
        self._of._check_open()

    def __repr__(self) -> str:
        return f"<a view of {self._of!r}>"


def _results(stream: Stream, end: float | None, on_error: OnError) -> Iterator[Any]:
    """The values of a map.  As with the standard library, dropping this before its first value drops no call."""
    try:
        while (outcome := stream.next(None if end is None else max(0.0, end - time.monotonic()))) is not None:
            error = outcome.error
            if error is None:
                value = [outcome.value]
                del outcome  # the caller alone has the value while this waits here
                yield value.pop()
            elif on_error is OnError.RETURN and not stream.is_last_error(outcome):
                yield error
            elif on_error is not OnError.SKIP or stream.is_last_error(outcome):
                if on_error is OnError.STOP:
                    stream.close()
                raise error
    finally:
        stream.close(stop=False)


def _check_workers(value: int | None) -> int:
    if value is None:
        return nesting.default_workers()
    if value <= 0:
        raise ValueError("max_workers must be greater than 0")
    return value


def _check_chunksize(value: int) -> int:
    if value < 1:
        raise ValueError("chunksize must be >= 1.")
    return check_chunksize(value) or 1


def _check_buffersize(value: int) -> int:
    if not isinstance(value, int):
        raise TypeError("buffersize must be an integer or None")
    if value < 1:
        raise ValueError("buffersize must be None or > 0")
    return value


def _choose_context(context: Any, max_tasks_per_child: int | None) -> Any:
    """The context of the workers, and whether it allows for their number of tasks."""
    if context is None:
        from procession.context import context_of, default_context

        context = default_context.get_context()
        if max_tasks_per_child is not None and context.get_start_method() == "fork":
            context = context_of("spawn")
    if max_tasks_per_child is not None:
        if not isinstance(max_tasks_per_child, int):
            raise TypeError("max_tasks_per_child must be an integer")
        if max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")
        if context.get_start_method(allow_none=False) == "fork":
            raise ValueError(
                "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method: workers would be "
                "forked while threads run; supply a different mp_context"
            )
    return context
