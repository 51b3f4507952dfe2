"""Kept executors: those that calls of ``joblib.Parallel`` leave warm for the next, by what was asked for."""

from __future__ import annotations

import os
import threading
from typing import Any

from procession.executor import ProcessPoolExecutor
from procession.integrations.batches import prepare_worker

#: Executors that are kept.
_KEPT = 4

_lock = threading.Lock()
_kept: list[tuple[Any, ProcessPoolExecutor]] = []


def warm_executor(workers: int, threads: dict[str, str], settings: dict[str, Any]) -> ProcessPoolExecutor:
    """The executor that was made for the same; or a new one."""
    wanted = (os.getpid(), workers, threads, settings)
    with _lock:
        for at, (asked, executor) in enumerate(_kept):
            if _same(asked, wanted):
                del _kept[at]
                if executor._is_shut_down or executor._broken:
                    break
                _kept.append((asked, executor))
                return executor
        rest = dict(settings)
        initargs = (threads, rest.pop("initializer", None), tuple(rest.pop("initargs", ())))
        executor = ProcessPoolExecutor(workers, initializer=prepare_worker, initargs=initargs, **rest)
        _kept.append((wanted, executor))
        # One that falls out ends when its last call does, as any executor that is dropped.
        del _kept[:-_KEPT]
        return executor


def _same(one: Any, other: Any) -> bool:
    """Whether two settings are equal; if that cannot be told, as with arrays, they are not."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False


def take_all() -> list[ProcessPoolExecutor]:
    """Those of this process, which are not kept any more."""
    with _lock:
        taken = [executor for asked, executor in _kept if asked[0] == os.getpid()]
        _kept.clear()
    return taken


def _renew_lock() -> None:
    """In a forked child.  The executors are the parent's, and not dropped: this may run before they are abandoned."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
