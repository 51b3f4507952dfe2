"""The calls of a pool: every way of handing it something to run, under the options that hold for the call.

``Calls`` is what ``Pool`` and a view of it (``pool.options(...)``) have in common.  It validates, names things as
the standard library does, and leaves the rest to mappings and their backend.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from procession.backends.base import Backend, Capability
from procession.checks import check_chunksize
from procession.errors import UnsupportedOption
from procession.mapping.admission import Admission
from procession.mapping.maps import run_map, start_map
from procession.mapping.single import run_call
from procession.mapping.stream import Stream
from procession.options import MANY_OPTIONS, TaskOptions
from procession.outcome import Outcome
from procession.results import AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult
from procession.task import Task
from procession.wire.messages import Style

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CallOptions(TypedDict, total=False):
    """The options of a single call; see ``Pool``."""

    timeout: float | None
    retries: int
    retry_on: type[BaseException] | tuple[type[BaseException], ...]
    backoff: float | Iterable[float]
    seed: Any


class ManyOptions(CallOptions, total=False):
    """The options of a call for many items of which each has its outcome."""

    stop_when: int | Callable[[Any], Any] | None
    max_failures: float | str | None
    window: int | None
    label: str | None
    progress: Any
    journal: str | os.PathLike[str] | None
    key: Callable[[Any], Any] | None
    resume: str
    on_change: str


class MapOptions(ManyOptions, total=False):
    """The options of a call for many items."""

    on_error: str


class AllOptions(MapOptions, total=False):
    """The options of a pool or a view, for all of its calls."""

    chunksize: int | None
    ordered: bool | None


class _Default(int):
    """A default that can be told from the same number when the caller gives it."""


#: What the standard library shows as the chunk size of an iterator, where a pool's own option may stand in for it.
ONE = _Default(1)


class Calls:
    """What a pool can be asked to run.  Every call takes the options as keywords."""

    _backend: Backend
    _options: TaskOptions
    _seeded_calls: Iterator[int]  #: the positions of single calls under the options' own seed
    _admission: Admission | None  #: if only so many of these may be pending

    def _check_running(self) -> None:
        raise NotImplementedError

    def _choose(self, changes: Mapping[str, Any], not_for: tuple[str, ...] = ()) -> TaskOptions:
        """The options of one call, which are ``not_for`` it all.

        On failure: ``ValueError``, ``TypeError``, ``UnsupportedOption``.
        """
        if not changes:
            return self._options
        for name in not_for:
            if name in changes:
                raise TypeError(f"{name} is for calls with many items, or for one that raises their errors")
        options = self._changed(changes)
        options.check_use(changes)
        return options

    def _changed(self, changes: Mapping[str, Any]) -> TaskOptions:
        """The options of a view.  On failure: as ``_choose``."""
        options = self._options.changed(changes)
        check_supported(options, self._backend)
        return options

    # One call at a time.

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Run ``fn(*args, **kwargs)`` in a worker; return its task at once.

        The arguments are pickled now.  All keywords are the function's: ``pool.options(timeout=5).submit(...)``
        sets options.  On failure: ``NotPicklable``; ``ValueError`` when closed.
        """
        task: Task[Any] = Task(self._backend)
        self._send_bounded(task, task.done, fn, args, kwargs, self._options)
        return task

    def submit_nowait(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Like ``submit``, but never wait for a place.  On failure also: ``PoolFull``, and nothing is run."""
        task: Task[Any] = Task(self._backend)
        self._send_bounded(task, task.done, fn, args, kwargs, self._options, wait=False)
        return task

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        **options: Unpack[CallOptions],
    ) -> Any:
        """Run ``func(*args, **kwds)`` in a worker and return its value."""
        task: Task[Any] = Task(self._backend)
        self._send(task, func, tuple(args), dict(kwds), self._choose(options, MANY_OPTIONS))
        return task.result()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult:
        """Run ``func(*args, **kwds)`` in a worker; return its result object at once.

        A callback runs before the result is ready; one that raises makes its error the result.
        """
        result = AsyncResult(self._backend, callback, error_callback)
        chosen = self._choose(options, MANY_OPTIONS)
        self._send_bounded(result, result.ready, func, tuple(args), dict(kwds), chosen)
        result.attend()
        return result

    def _send_bounded(
        self,
        task: Any,
        is_done: Callable[[], bool],
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        options: TaskOptions,
        *,
        wait: bool = True,
    ) -> None:
        """Send a call when there is a place for it.  On failure: ``PoolFull``."""
        if self._admission is None:
            self._send(task, function, args, kwargs, options)
            return
        with self._admission.entered(is_done, wait=wait):
            self._send(task, function, args, kwargs, options)

    def _send(self, task: Any, function: Callable[..., Any], args: Any, kwargs: Any, options: TaskOptions) -> None:
        self._check_running()
        positions = self._seeded_calls if options is self._options else iter((0,))
        run_call(self._backend, task, function, args, kwargs, options, positions)

    # Many items, one list.

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        **options: Unpack[MapOptions],
    ) -> list[Any]:
        """Return ``[func(item) for item in iterable]``, computed by the workers, in order.

        On failure: what ``on_error`` says.
        """
        return self._map(func, iterable, Style.MAP, chunksize, options)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        **options: Unpack[MapOptions],
    ) -> list[Any]:
        """Like ``map``, for items that are the arguments: ``func(*item)``."""
        return self._map(func, iterable, Style.STAR, chunksize, options)

    def _map(self, func: Any, iterable: Iterable[Any], style: Style, chunksize: Any, changes: Any) -> list[Any]:
        self._check_running()
        options = self._choose(changes)
        size = check_chunksize(chunksize) or options.chunksize
        return run_map(self._backend, func, iterable, style=style, chunksize=size, options=options)

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        **options: Unpack[MapOptions],
    ) -> MapResult:
        """Like ``map``, but return the result object at once.  All items are pickled now."""
        result = MapResult(self._backend, callback, error_callback)
        return self._map_async(result, func, iterable, Style.MAP, chunksize, options)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        **options: Unpack[MapOptions],
    ) -> MapResult:
        """Like ``starmap``, but return the result object at once.  All items are pickled now."""
        result = MapResult(self._backend, callback, error_callback)
        return self._map_async(result, func, iterable, Style.STAR, chunksize, options)

    def _map_async(
        self, result: MapResult, func: Any, iterable: Iterable[Any], style: Style, chunksize: Any, changes: Any
    ) -> MapResult:
        self._check_running()
        options = self._choose(changes)
        start_map(
            self._backend,
            func,
            iterable,
            style=style,
            chunksize=check_chunksize(chunksize) or options.chunksize,
            options=options,
            on_done=lambda collector, batch: result.collect(collector, options.on_error, batch),
        )
        result.attend()
        return result

    # Many items, one iterator.

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = ONE,
        **options: Unpack[MapOptions],
    ) -> IMapIterator:
        """Like ``map``, but yield the values in order as they come; items are pulled as needed."""
        return self._imap(func, iterable, chunksize, options, ordered=True)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = ONE,
        **options: Unpack[MapOptions],
    ) -> IMapIterator:
        """Like ``imap``, but yield the values in the order in which they come."""
        return self._imap(func, iterable, chunksize, options, ordered=False)

    def _imap(
        self,
        func: Any,
        iterable: Iterable[Any],
        chunksize: Any,
        changes: Any,
        *,
        ordered: bool,
        style: Style = Style.MAP,
        total: int | None = None,
    ) -> IMapIterator:
        options = self._choose(changes)
        ordered = ordered and options.ordered is not False
        stream = self._stream(func, iterable, chunksize, options, ordered=ordered, style=style, total=total)
        return (IMapIterator if ordered else IMapUnorderedIterator)(stream, options.on_error)

    def outcomes(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        ordered: bool | None = None,
        **options: Unpack[ManyOptions],
    ) -> Iterator[Outcome]:
        """Yield an ``Outcome`` for every item, in order unless ``ordered`` is false: its value or error, its seconds.

        Nothing is raised for an item.  An error of ``iterable`` itself is raised in its place.
        """
        chosen = self._choose(options, ("on_error",))
        ordered = chosen.ordered if ordered is None else ordered
        return _outcomes(self._stream(func, iterable, chunksize, chosen, ordered=ordered is not False, timed=True))

    def _stream(
        self,
        func: Any,
        iterable: Iterable[Any],
        chunksize: Any,
        options: TaskOptions,
        *,
        ordered: bool,
        style: Style = Style.MAP,
        timed: bool = False,
        total: int | None = None,
    ) -> Stream:
        self._check_running()
        size = None if chunksize is ONE else check_chunksize(chunksize)
        return Stream(
            self._backend,
            func,
            iterable,
            style=style,
            total=total,
            chunksize=size or options.chunksize or (1 if chunksize is ONE else None),
            options=options,
            ordered=ordered,
            timed=timed,
        )


def check_supported(options: TaskOptions, backend: Backend) -> None:
    """Check that a backend can honour the options.  On failure: ``UnsupportedOption``."""
    if options.timeout is not None and Capability.STOPPING not in backend.capabilities:
        raise UnsupportedOption(f"the {backend.name} backend cannot stop what runs: no timeout")


def _outcomes(stream: Stream) -> Iterator[Outcome]:
    try:
        while (outcome := stream.next()) is not None:
            if stream.is_last_error(outcome):
                raise outcome.error or AssertionError
            yield outcome
    finally:
        stream.close()
