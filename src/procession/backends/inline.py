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
from procession.errors import InternalError, PoolBroken
from procession.wire.messages import Style
from procession.wire.outcomes import Outcomes

if TYPE_CHECKING:
    from procession.engine.work import Source
    from procession.wire.mainmodule import Definition
    from procession.wire.parcel import Known


class Inline:
    """Runs every item at once, here."""

    name = "inline"
    capabilities = frozenset({Capability.INITIALIZER})

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
    ) -> tuple[Any, tuple[Definition, ...]]:
        """See ``Backend``; an item is itself here."""
        return item, ()

    def submit(self, source: Source) -> None:
        """See ``Backend``."""
        with self._lock:
            self._prepare()
            while source.left():
                chunk = source.cut(1)
                if chunk.count:
                    source.take(chunk, 0, _run(source, source.item(chunk, 0)))

    def append(self, make: Callable[[Function], Any], function: Function, item: Any) -> None:
        """See ``Backend``."""
        source = make(function)
        source.append(item)
        self.submit(source)

    def withdraw(self, source: Source) -> None:
        """See ``Backend``; what has been submitted is done already, unless it stopped itself."""
        while source.left():
            source.cut(source.left())

    def interrupt(self, source: Source, error: BaseException) -> None:
        """See ``Backend``."""
        self.withdraw(source)

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


def _run(source: Source, item: Any) -> Outcomes:
    """Run one item; ``KeyboardInterrupt`` is the caller's, everything else the item's."""
    begin = time.perf_counter()
    errors: dict[int, BaseException] = {}
    value = None
    try:
        value = _call(source, item)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        errors[0] = error
    return Outcomes([value], errors, [time.perf_counter() - begin])


def _call(source: Source, item: Any) -> Any:
    target = source.function.target
    if target is None:
        raise InternalError("a function was interned for another backend")
    if source.style is Style.MAP:
        return target(item)
    if source.style is Style.STAR:
        return target(*item)
    args, kwargs = item
    return target(*args, **kwargs)
