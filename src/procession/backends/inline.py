"""The backend without workers: everything runs in the calling thread, where a debugger sees it.

Items run when their source is submitted, in order, unpickled.  An item's exception is its outcome
with its own traceback; ``KeyboardInterrupt`` goes through, since it is the caller's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from procession.backends.base import Capability
from procession.engine.interning import Function, function_name
from procession.errors import InternalError, PoolBroken, UnsupportedOption
from procession.wire.messages import Style
from procession.wire.outcomes import Outcomes
from procession.worker.seeding import Seeded, kept
from procession.worker.telling import here

if TYPE_CHECKING:
    from procession.engine.stacks import WorkerStack
    from procession.engine.work import Chunk, Source
    from procession.wire.mainmodule import Definition
    from procession.wire.parcel import Known


class Inline:
    """Runs every item at once, here."""

    name = "inline"
    capabilities = frozenset({Capability.INITIALIZER})
    #: The settings of worker processes, which there are not.
    without = ("chunks_per_worker", "block_memory", "memory_limit", "max_memory", "idle_timeout", "stall_warning")

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self.workers = workers
        self._lock = threading.RLock()
        self._initializer = (initializer, initargs)
        self._ready = initializer is None
        self.broken: BaseException | None = None

    def intern(self, function: Callable[..., Any], *, thorough: bool) -> Function:
        """See ``Backend``; a function is itself here."""
        if not callable(function):
            raise TypeError(f"a function is needed to run, not {function!r}")
        return Function(0, b"", function_name(function), target=function)

    def encode(
        self,
        item: Any,
        name: str,
        known: Known | None = None,
        before_wait: Callable[[], object] | None = None,
        *,
        exclusive: bool = True,
    ) -> tuple[Any, tuple[Definition, ...]]:
        """See ``Backend``; an item is itself here."""
        return item, ()

    def submit(self, source: Source, *, more: bool = False) -> None:
        """See ``Backend``."""
        with self._lock:
            self._prepare()
            while source.left():
                chunk = source.cut(1)
                if chunk.count:
                    source.settle(chunk, 0, _run(source, chunk))

    def append(self, make: Callable[[Function, Any], Any], function: Function, options: Any, item: Any) -> None:
        """See ``Backend``."""
        source = make(function, options)
        source.append(item)
        self.submit(source)

    def retry(self, chunk: Chunk, index: int, delay: float) -> bool:
        """See ``Backend``; ``submit`` finds it in its source again."""
        time.sleep(delay)
        chunk.source.give_back(chunk, index, index + 1, failed=True)
        return True

    def stop(self, task: Any) -> None:
        """See ``Backend``; whoever could ask is in another thread.  On failure: ``UnsupportedOption``, always."""
        raise UnsupportedOption("the inline backend cannot stop what runs")

    def dump_stacks(self) -> list[WorkerStack]:
        """See ``Backend``; there are no workers."""
        return []

    def withdraw(self, source: Source) -> None:
        """See ``Backend``; what has been submitted is done already, unless it stopped itself."""
        while source.left():
            source.cut(source.left())

    def interrupt(self, source: Source, error: BaseException) -> None:
        """See ``Backend``."""
        self.withdraw(source)

    def settle(self, source: Source, seconds: float) -> None:
        """See ``Backend``; nothing is ever under way."""

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """See ``Backend``; nothing is under way that could be waited for, except in other threads."""
        with self._lock:
            return ready()

    def attend(self) -> None:
        """See ``Backend``."""

    def wake(self) -> None:
        """See ``Backend``."""

    def start_workers(self) -> None:
        """See ``Backend``."""

    def worker_processes(self) -> list[Any]:
        """See ``Backend``; there are none."""
        return []

    def cancel_queued(self, error: BaseException, *, handed_out: bool = False) -> None:
        """See ``Backend``; nothing is ever queued."""

    def close(self) -> None:
        """See ``Backend``."""

    def terminate(self, error: BaseException) -> None:
        """See ``Backend``."""

    def wait_ended(self) -> None:
        """See ``Backend``."""

    def _prepare(self) -> None:
        if self.broken is not None:
            raise self.broken
        if not self._ready:
            initializer, initargs = self._initializer
            try:
                if initializer is not None:
                    initializer(*initargs)
            except Exception as error:
                self.broken = PoolBroken(f"the initializer raised {error!r}; nothing was run")
                raise self.broken from error
            self._ready = True


def _run(source: Source, chunk: Chunk) -> Outcomes:
    """Run one item; ``KeyboardInterrupt`` is the caller's, everything else the item's."""
    around, here.listener = here.listener, lambda *told: source.on_task(chunk, 0, *told)
    begin = time.perf_counter()
    errors: dict[int, BaseException] = {}
    value = None
    try:
        value = _call(source, chunk)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        errors[0] = error
    finally:
        here.listener = around
    return Outcomes([value], errors, [time.perf_counter() - begin])


def _call(source: Source, chunk: Chunk) -> Any:
    target, item = source.function.target, source.item(chunk, 0)
    if target is None:
        raise InternalError("a function was interned for another backend")
    if type(target) is not Seeded:
        return _call_plainly(target, source.style, item)
    with kept():
        if source.style is Style.CALL:  # which brings its position
            return _call_plainly(target, source.style, item)
        function = target.func
        return target.in_order(lambda item: _call_plainly(function, source.style, item), chunk.start)(item)


def _call_plainly(target: Callable[..., Any], style: Style, item: Any) -> Any:
    if style is Style.MAP:
        return target(item)
    if style is Style.STAR:
        return target(*item)
    args, kwargs = item
    return target(*args, **kwargs)
