"""The reusable executor: one executor of the process that is kept for the next call, as loky's.

Owns that executor.  It is replaced when another is asked for, when it has been shut down, or when it is broken; and
left behind by a fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from procession.executor import ProcessPoolExecutor

_lock = threading.Lock()
_executor: ProcessPoolExecutor | None = None
_asked: Any = None


def get_reusable_executor(
    max_workers: int | None = None,
    context: Any = None,
    timeout: float | None = 10,
    kill_workers: bool = False,
    reuse: bool | str = "auto",
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    **options: Any,
) -> ProcessPoolExecutor:
    """Return the executor that is kept, or a new one if that is not as asked for.

    ``timeout``: seconds without work after which its workers end; they come back with the next.
    ``reuse``: "auto" keeps an executor that was made with the same arguments, True any but for the number of its
    workers where that is given, False none.
    ``kill_workers``: one that is replaced ends at once; else what it runs is finished first.
    ``options`` are those of ``ProcessPoolExecutor``.
    """
    # The time limit of loky is that of idle workers; for that of calls there is `executor.options(timeout=...)`.
    chosen: dict[str, Any] = {"idle_timeout": timeout, **options}
    wanted = (os.getpid(), max_workers, context, initializer, tuple(initargs), chosen)
    executor, old = _exchange(wanted, reuse)
    if old is not None:  # without the lock: it may call back, and that may ask for an executor
        if kill_workers:
            old.kill_workers()
        old.shutdown()
    return executor


def _exchange(wanted: Any, reuse: bool | str) -> tuple[ProcessPoolExecutor, ProcessPoolExecutor | None]:
    """The executor that is as wanted, and the one that it has replaced, if any."""
    global _executor, _asked
    with _lock:
        old = _executor
        if old is not None and _asked[0] != os.getpid():
            old = None  # the parent's
        if old is not None and not (old._is_shut_down or old._broken) and _fits(wanted, reuse, old):
            return old, None
        _pid, max_workers, context, initializer, initargs, chosen = wanted
        _executor = ProcessPoolExecutor(max_workers, context, initializer, initargs, **chosen)
        _asked = wanted
        return _executor, old


def _fits(wanted: Any, reuse: bool | str, old: ProcessPoolExecutor) -> bool:
    if reuse == "auto":
        return bool(wanted == _asked)
    workers = wanted[1]
    return bool(reuse) and workers in (None, old._max_workers)


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
